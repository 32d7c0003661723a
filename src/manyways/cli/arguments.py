"""Builds a command's options from an algorithm's class of settings: each field is an option, its docstring the help."""

import inspect
import shlex
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import docstring_parser
import tyro

if TYPE_CHECKING:
    from manyways.demonstrations import Selection

_optional = tyro.conf.arg(help_behavior_hint="(optional)")
_data = tyro.conf.arg(metavar="[DATA]", help_behavior_hint="(optional)")
_START = "init"  # a run to start from; for an algorithm with a setting of this name, also one of its choices
_FILLED_IN = ("prior",)  # from --modes, --code-size or the task


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What to take of a data set.

    Args:
        observations: Names of the entries or columns to observe; those that the format calls so unless given.
        actions: Names of the entries or columns that are actions; those that the format calls so unless given.
        episodes: Which ones by their place from 0, such as 0:10 or 3,7,20:, or the name of a part that the file
            declares, such as train; all unless given.
        exclude: Identities of trajectories to leave out, such as demo_12.
        drop_bad: Leave out trajectories of a single step or with values that are not finite.
        angles: Names of columns that are angles in radians, or NAME=360 for degrees; they are learned without a jump.
            Where neither angles nor quaternions are named, those that come round in the data are; none: there are none.
        quaternions: Names of the first of four columns that are a quaternion, or of all four before the number.
    """

    observations: Annotated[tuple[str, ...], _optional] = ()
    actions: Annotated[tuple[str, ...], _optional] = ()
    episodes: Annotated[str | None, _optional, tyro.conf.DisallowNone] = None
    exclude: Annotated[tuple[str, ...], _optional] = ()
    drop_bad: Annotated[bool, _optional, tyro.conf.FlagCreatePairsOff] = False
    angles: Annotated[tuple[str, ...], _optional] = ()
    quaternions: Annotated[tuple[str, ...], _optional] = ()

    def selection(self) -> "Selection":
        """Return the same for the library."""
        from manyways.demonstrations import Selection

        return Selection(**vars(self))

    def words(self) -> str:
        """Return the options as they are typed, after a space; "" where all are left to the default."""
        words: list[str] = []
        for name, value in self.selection().to_json().items():
            words.append("--" + name.replace("_", "-"))
            words += [] if value is True else [value] if isinstance(value, str) else value
        return "".join(f" {shlex.quote(word)}" for word in words)


Taken = Annotated[DataOptions, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every `manyways train ALGORITHM` takes.

    Args:
        data: Demonstrations: a file or folder (NPZ, Minari, robomimic, LeRobot, zarr, CSV, Parquet and others), or the
            id of a local Minari data set; those of the task's expert unless given, collected on first use.
        taken: What to take of the data.
        edits: File of names, exclusions, labels and pairs that the page of `manyways explore` saved.
        out: Folder of the run: new, empty, or that of the same run.
        task: Task to evaluate in, such as circles, or MODULE:ATTRIBUTE.
        init: Folder of an earlier run to start from, with its architecture; modes keep their codes and names.
        weights: Folder of the task's expert, to collect its demonstrations; the expert that ships unless given.
        loggers: Where the numbers of training go beside metrics.jsonl.
    """

    data: tyro.conf.Positional[Annotated[str | None, _data]] = None
    taken: Taken = field(default_factory=DataOptions)
    edits: Annotated[Path | None, _optional, tyro.conf.DisallowNone] = None
    out: Path
    task: Annotated[str | None, _optional, tyro.conf.DisallowNone] = None
    init: Annotated[str | None, _optional, tyro.conf.DisallowNone] = None
    weights: Annotated[Path | None, _optional, tyro.conf.DisallowNone] = None
    loggers: tuple[Literal["jsonl", "tensorboard", "wandb"], ...] = ("tensorboard",)


@dataclass(frozen=True, kw_only=True)
class Coded(Common):
    """What those with codes take besides.

    Args:
        modes: How many codes, or auto to count the modes in the demonstrations; a task's own number unless given.
        code_size: Dimensions of a continuous code, for modes that are a range, instead of --modes.
        names_from: Folder of an earlier run: a mode that has the demonstrations of a named one there gets its name.
    """

    modes: Annotated[int | Literal["auto"] | None, _optional, tyro.conf.DisallowNone] = None
    code_size: Annotated[int | None, _optional, tyro.conf.DisallowNone] = None
    names_from: Annotated[Path | None, _optional, tyro.conf.DisallowNone] = None


@dataclass(frozen=True)
class Option:
    """An option of the command line that is a setting.

    Attributes:
        name: of the option.
        path: where the setting is: its name, or that of the nested settings and then its own.
        type: what the command line reads.
        default: its value where the option is left out.
        help: what it means.
    """

    name: str
    path: tuple[str, ...]
    type: Any
    default: Any
    help: str


def options(settings_class: type[Any]) -> list[Option]:
    """Return the options of a class of settings, nested settings without their prefix where that is unambiguous."""
    found = list(_options(settings_class, ()))
    names = [option.name for option in found] + [each.name for each in fields(Coded)]
    return [replace(option, name="_".join(option.path)) if names.count(option.name) > 1 else option for option in found]


def _options(settings_class: type[Any], path: tuple[str, ...]) -> Iterator[Option]:
    meanings = meanings_of(settings_class)
    for each in fields(settings_class):
        default = _default(each)
        if not each.init or each.name in _FILLED_IN:
            continue
        if is_dataclass(default):
            yield from _options(type(default), (*path, each.name))
            continue
        type_ = _from_text(each, settings_class)
        if type_ is not None:
            yield Option(each.name, (*path, each.name), type_, default, meanings.get(each.name, ""))


def command_class(settings_class: type[Any]) -> type[Any]:
    """Return the dataclass whose fields are the options of `manyways train` for an algorithm."""
    base = Coded if settings_class.has_codes else Common
    own: list[tuple[str, Any, Any]] = []
    for option in options(settings_class):
        if option.name == _START:
            more = f"{option.help} Or the {meanings_of(Common)[_START][:1].lower()}{meanings_of(Common)[_START][1:]}"
            option = replace(option, type=str, help=more)
        told: list[Any] = [tyro.conf.arg(help=option.help)]
        if option.default is None:  # it follows from the demonstrations
            hint = "(default: by the data)"
            told = [tyro.conf.arg(help=option.help, help_behavior_hint=hint), tyro.conf.DisallowNone]
        annotated: Any = Annotated[(option.type, *told)]
        own.append((option.name, annotated, field() if option.default is MISSING else field(default=option.default)))
    built = make_dataclass(settings_class.__name__, own, bases=(base,), frozen=True, kw_only=True)
    built.__doc__ = settings_class.summary
    return built


def settings_from(settings_class: type[Any], chosen: Any) -> Any:
    """Return the algorithm's settings from what the command line read."""
    own: dict[str, Any] = dict.fromkeys(_FILLED_IN) if settings_class.has_codes else {}
    nested: dict[str, dict[str, Any]] = {}
    for option in options(settings_class):
        if option.name == _START and start_of(settings_class, chosen) is not None:
            continue
        place = own if len(option.path) == 1 else nested.setdefault(option.path[0], {})
        place[option.path[-1]] = getattr(chosen, option.name)
    for each in fields(settings_class):
        if each.name in nested:
            own[each.name] = type(_default(each))(**nested[each.name])
    return settings_class(**own)


def start_of(settings_class: type[Any], chosen: Any) -> str | None:
    """Return the folder of the run to start from; None for a setting's own choices under the same name."""
    own = [get_args(option.type) for option in options(settings_class) if option.name == _START]
    value: str | None = chosen.init
    return None if own and value in own[0] else value


def meanings_of(settings_class: type[Any]) -> dict[str, str]:
    """Return what each setting means, from the Google-style docstrings of the class and of those it inherits from."""
    found: dict[str, str] = {}
    for cls in reversed(settings_class.__mro__):
        for parameter in docstring_parser.parse(cls.__doc__ or "").params:
            for name in parameter.arg_name.split(", "):
                text = " ".join((parameter.description or "").split())
                found[name] = text[:1].upper() + text[1:] if text[:1].isascii() else text
    return found


def _default(each: Field[Any]) -> Any:
    if each.default_factory is not MISSING:
        return each.default_factory()
    return each.default


def _from_text(each: Field[Any], settings_class: type[Any]) -> Any:
    """Return what the command line reads for a field, None where text cannot say it."""
    type_ = each.type
    if isinstance(type_, str):  # an annotation that names what is only imported for type checkers
        home = next(cls for cls in settings_class.__mro__ if each.name in inspect.get_annotations(cls))
        known = {**vars(sys.modules[home.__module__]), **vars(home)}
        members = []
        for part in type_.split("|"):
            try:
                members.append(eval(part.strip(), known))
            except (NameError, AttributeError):
                continue
        type_ = Union[tuple(members)] if members else None  # noqa: UP007
    if get_origin(type_) is not None and get_origin(type_) not in (Literal, tuple, list, dict):
        members = [member for member in get_args(type_) if _readable(member)]
        return Union[tuple(members)] if [m for m in members if m is not type(None)] else None  # noqa: UP007
    return type_ if _readable(type_) else None


def _readable(type_: Any) -> bool:
    """Whether the command line reads values of this type."""
    if get_origin(type_) is Literal:
        return True
    if get_origin(type_) in (tuple, list):
        return all(member is ... or _readable(member) for member in get_args(type_))
    return type_ in (int, float, str, bool, type(None), Path)
