"""Parquet and CSV files as arrays, read by Apache Arrow. Nothing in such a file is run."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.arrays import require_memory
from manyways.demonstrations.formats.contents import Entry
from manyways.demonstrations.formats.reading import require_package
from manyways.errors import InputError

SUFFIXES = (".csv", ".tsv", ".parquet")
_BYTES_A_CELL = 8


class Source(NamedTuple):
    """An open table.

    Attributes:
        entries: its columns; those of words have the type object.
        rows: how many there are.
        read: returns columns by name, each (rows, ...); of some rows only, if a slice is given.
    """

    entries: Mapping[str, Entry]
    rows: int
    read: Callable[..., dict[str, NDArray[Any]]]


def open_table(path: Path, texts: Sequence[str] = ()) -> Source:
    """Open a file; of a CSV file, columns named in `texts` stay as they are written, such as 007.

    Raises:
        InputError: it is damaged, or would not fit into memory.
    """
    if path.suffix.lower() == ".parquet":
        return _open_parquet(path)
    return _open_csv(path, texts)


def _open_csv(path: Path, texts: Sequence[str]) -> Source:
    pyarrow, csv = require_package("pyarrow", path), require_package("pyarrow.csv", path)
    require_memory(path.stat().st_size * _BYTES_A_CELL // 2, str(path))  # a cell takes two bytes at least
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    kept = csv.ConvertOptions(column_types=dict.fromkeys(texts, pyarrow.string()))
    table = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter), convert_options=kept)
    names = table.column_names
    if len(set(names)) < len(names):
        raise InputError(f"{path} has two columns of the same name; rename one")
    arrays = {name: as_array(table[name], f"{name} in {path}") for name in names}
    whole = {name for name in names if pyarrow.types.is_integer(table[name].type)}
    entries = {n: Entry(array.shape[1:], array.dtype, None, n in whole) for n, array in arrays.items()}

    def read(names: Sequence[str], rows: slice = slice(None)) -> dict[str, NDArray[Any]]:
        return {name: arrays[name][rows] for name in names}

    return Source(entries, table.num_rows, read)


def _open_parquet(path: Path) -> Source:
    parquet = require_package("pyarrow.parquet", path)
    with parquet.ParquetFile(path) as file:
        rows, schema = file.metadata.num_rows, file.schema_arrow
        if len(set(schema.names)) < len(schema.names):
            raise InputError(f"{path} has two columns of the same name; rename one")
        groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
        # Arrow encodes repetitions: a table may truly be much larger than its bytes, so only memory is the limit.
        require_memory(sum(group.total_byte_size for group in groups), str(path))
        entries = {field.name: _entry(field.type, _a_cell(file, field)) for field in schema}
    ends = np.cumsum([group.num_rows for group in groups])

    def read(names: Sequence[str], some: slice = slice(None)) -> dict[str, NDArray[Any]]:
        start, stop, _ = some.indices(rows)
        require_memory((stop - start) * sum(entries[name].size for name in names) * _BYTES_A_CELL, str(path))
        chosen = [index for index, end in enumerate(ends) if end > start and end - groups[index].num_rows < stop]
        with parquet.ParquetFile(path) as file:
            table = file.read_row_groups(chosen, columns=list(names))
        before = int(ends[chosen[0]]) - groups[chosen[0]].num_rows if chosen else 0
        table = table.slice(start - before, stop - start)
        arrays = {name: as_array(table[name], f"{name} in {path}") for name in names}
        for name, array in arrays.items():
            if len(array) and array.shape[1:] != entries[name].shape:
                raise InputError(f"the cells of {name} in {path} differ in their number of values; make them alike")
        return arrays

    return Source(entries, rows, read)


def _a_cell(file: Any, field: Any) -> Any:
    """Return the first cell of a column of lists that is not empty; None where there is none, or of other columns."""
    if not _is_list(field.type):
        return None
    batches = (batch.column(0).drop_null() for batch in file.iter_batches(1000, columns=[field.name]))
    return next((cells[0].as_py() for cells in batches if len(cells)), None)


def _entry(kind: Any, cell: Any) -> Entry:
    """Return what a column of this type holds; `cell` is one of its cells, if there is one."""
    import pyarrow as pa

    inner = kind
    while _is_list(inner):
        inner = inner.value_type
    if not (pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_boolean(inner)):
        return Entry((), np.dtype(object))
    dtype = np.dtype(inner.to_pandas_dtype())
    if inner is kind or cell is None:
        return Entry((), dtype)
    return Entry(np.asarray(cell, dtype=dtype).shape, dtype)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def as_array(column: Any, what: str) -> NDArray[Any]:
    """Return a column as numbers (rows, ...), or as objects where it holds words; empty cells are NaN.

    Raises:
        InputError: the cells of a column of lists differ in their number of values.
    """
    import pyarrow as pa

    combined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(combined, pa.ChunkedArray):
        combined = pa.concat_arrays(combined.chunks)
    if _is_list(combined.type) and 0 < combined.null_count < len(combined):
        there = combined.is_valid().to_numpy(zero_copy_only=False)
        cells = as_array(combined.drop_null(), what)
        filled = np.full((len(there), *cells.shape[1:]), np.nan, np.result_type(cells.dtype, np.float32))
        filled[there] = cells
        return filled
    shape = [len(combined)]
    while _is_list(combined.type):
        inner = combined.flatten()
        width, rest = divmod(len(inner), max(1, len(combined)))
        lengths = combined.value_lengths() if hasattr(combined, "value_lengths") else None
        ragged = lengths is not None and len(lengths) and lengths.unique().to_pylist() != [width]
        if combined.null_count or rest or ragged:
            raise InputError(f"the cells of {what} differ in their number of values; make them alike")
        shape.append(width)
        combined = inner
    if pa.types.is_dictionary(combined.type):
        combined = combined.dictionary_decode()
    if pa.types.is_struct(combined.type) and combined.type.get_field_index("bytes") >= 0:  # pictures, as LeRobot's
        return np.array(combined.field("bytes").to_pylist(), dtype=object)
    if pa.types.is_boolean(combined.type) or pa.types.is_integer(combined.type) or pa.types.is_floating(combined.type):
        array = combined.to_numpy(zero_copy_only=False)
        if array.dtype == object:  # booleans with empty cells
            array = array.astype(np.float64)
        return array.reshape(shape)
    if pa.types.is_null(combined.type):
        return np.full(math.prod(shape), np.nan).reshape(shape)
    return np.array(["" if value is None else str(value) for value in combined.to_pylist()], dtype=object)


def rows(path: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of a small Parquet file with those of these columns that it has."""
    parquet = require_package("pyarrow.parquet", path)
    with parquet.ParquetFile(path) as file:
        require_memory(sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)), str(path))
        found: list[dict[str, Any]] = file.read(columns=[n for n in names if n in file.schema_arrow.names]).to_pylist()
    return found
