from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from manyways.runs.tensorboard import TensorBoard


def scalars(folder, tag):
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def test_tensorboard_reads_what_is_written(tmp_path):
    writer = TensorBoard(tmp_path, start=1)
    for step in (1, 2, 3):
        writer.log(step, {"loss": 1 / step, "code_usage/0": 0.5})
    writer.close()
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 0.5), (3, 0.3333333432674408)]
    assert [step for step, _ in scalars(tmp_path, "code_usage/0")] == [1, 2, 3]


def test_what_was_written_beyond_a_checkpoint_is_forgotten(tmp_path):
    for start, value in ((1, 1.0), (3, 2.0)):  # the second run takes up where step 2 was saved
        writer = TensorBoard(tmp_path, start=start)
        for step in range(start, 6):
            writer.log(step, {"loss": value})
        writer.close()
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]
