"""Matches the arrays of a file to the variables of a model, by name. Pure Python; imports neither Keras nor HDF5.

Names are paths, `encoder/dense_3/kernel`. Names given by a person decide, in any order. Names that a library made by counting
(`dense_3`) depend on what the process built before: they are matched by their order within the class, if the wiring defines
one. Where two of them could change places unnoticed, the match is refused.
"""

from __future__ import annotations

import collections
import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

_COUNTER = re.compile(r"_(\d+)$")
# Variables without a given name have counted names as well.
_COUNTED_VARIABLES = ("variable", "Variable")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slot:
    """A place for an array: in a file, or a variable of a model. `name` is a path with slashes, scopes first."""

    name: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerNames:
    """The model's layer names, for the matching.

    Attributes:
      counted: name of a layer -> its class name as its library spells it in names, for names made by counting.
      turns: name of a layer -> its container and its depth in it, for layers whose order follows from the wiring: two with equal
        values could change places. A layer that is not in here has no known order.
    """

    counted: Mapping[str, str] = dataclasses.field(default_factory=dict)
    turns: Mapping[str, tuple[str, int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matching:
    """`places`: for every variable, the index of its array in the file. `notes`: a sentence for each array matched without a
    name.
    """

    places: tuple[int, ...]
    notes: tuple[str, ...]


class NoMatchError(Exception):
    """Names do not decide which array belongs to which variable. `why` gives the reason."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


_Array: TypeAlias = tuple[str, int, tuple[int, ...]]  # (own name, index in the list of slots, shape)


@dataclasses.dataclass
class _Node:
    """A scope: what is directly in it, and the scopes below, each in the order of appearance."""

    arrays: list[_Array] = dataclasses.field(default_factory=list)
    scopes: dict[str, _Node] = dataclasses.field(default_factory=dict)

    def signature(self) -> tuple[object, ...]:
        """A key, equal for scopes whose arrays could be swapped."""
        own = sorted((_uncounted(name), shape) for name, _, shape in self.arrays)
        return (tuple(own), tuple(sorted(map(repr, (scope.signature() for scope in self.scopes.values())))))


def match(stored: Sequence[Slot], wanted: Sequence[Slot], names: LayerNames) -> Matching:
    """Pairs the arrays of a file with the variables of a model.

    Args:
      stored: arrays in the order of the file. wanted: variables in the order of the model.
      names: the model's layer names.

    Raises:
      NoMatchError: where an array or a variable is left over, or where two could change places.
    """
    if len(stored) != len(wanted):
        raise NoMatchError(f"the file holds {len(stored)} arrays, the model has {len(wanted)} variables")
    pairing = _Pairing(names)
    pairing.pair(_tree(stored), _tree(wanted), "")
    return Matching(places=tuple(pairing.places[number] for number in range(len(wanted))), notes=tuple(pairing.notes))


def _tree(slots: Sequence[Slot]) -> _Node:
    root = _Node()
    for number, slot in enumerate(slots):
        *scopes, own = slot.name.split("/")
        node = root
        for scope in scopes:
            node = node.scopes.setdefault(scope, _Node())
        node.arrays.append((own, number, slot.shape))
    return _collapsed(root)


def _collapsed(node: _Node) -> _Node:
    """Without scopes that hold exactly one other scope: versions differ in whether they write them."""
    while not node.arrays and len(node.scopes) == 1:
        (node,) = node.scopes.values()
    node.scopes = {name: _collapsed(scope) for name, scope in node.scopes.items()}
    return node


def _uncounted(name: str) -> str:
    base = _COUNTER.sub("", name)
    return base if base in _COUNTED_VARIABLES else name


def _ranks(names: Sequence[str]) -> list[int]:
    """The order of names by their numbers: [1, 0] for dense_4, dense_3."""
    counts = [int(found[1]) if (found := _COUNTER.search(name)) else 0 for name in names]
    return [sorted(counts).index(count) for count in counts]


class _Pairing:
    def __init__(self, names: LayerNames) -> None:
        self._names = names
        self.places: dict[int, int] = {}
        self.notes: list[str] = []

    def pair(self, stored: _Node, wanted: _Node, at: str) -> None:
        self._pair_arrays(stored, wanted, at)
        left = dict(stored.scopes)
        open_: dict[str, _Node] = {}
        for name, scope in wanted.scopes.items():
            if name in left and name not in self._names.counted:
                self.pair(left.pop(name), scope, f"{at}{name}/")
            else:
                open_[name] = scope
        for base in dict.fromkeys(self._names.counted[name] for name in open_ if name in self._names.counted):
            ours = [name for name in open_ if self._names.counted.get(name) == base]
            theirs = [name for name in left if _COUNTER.sub("", name) == base]
            if len(ours) == len(theirs):
                for name, other in zip(ours, self._by_turn(theirs, ours, left, open_, at), strict=True):
                    self.pair(left.pop(other), open_.pop(name), f"{at}{name}/")
        # Of a class with more layers on one side, equal numbers say nothing: one of them may have moved all the others on.
        self._pair_by_shape(left, open_, at, fitting=[*stored.scopes.values()], places=[*wanted.scopes.values()])

    def _by_turn(
        self, theirs: list[str], ours: list[str], left: Mapping[str, _Node], open_: Mapping[str, _Node], at: str
    ) -> list[str]:
        """The file's counted names, in the order of the model's."""
        signatures = [open_[name].signature() for name in ours]
        if theirs == ours:
            return theirs
        found = [left[name].signature() for name in theirs]
        if len(set(signatures)) == len(signatures) and sorted(map(repr, found)) == sorted(map(repr, signatures)):
            return [theirs[found.index(signature)] for signature in signatures]  # each fits in one place only
        if _ranks(theirs) != _ranks(ours):
            raise NoMatchError(f"layers {_told(theirs)} of the file and {_told(ours)} of the model were counted in another order")
        if found == signatures:
            self._refuse_equal_turns(ours, signatures, theirs)
            self.notes.append(f"{at}{_told(ours)} from {_told(theirs)}, by their turn")
            return theirs
        raise NoMatchError(f"layers {_told(theirs)} of the file and {_told(ours)} of the model have other shapes in their order")

    def _refuse_equal_turns(self, ours: list[str], signatures: list[tuple[object, ...]], theirs: list[str]) -> None:
        """Refuses two layers of equal shapes whose order does not follow from the wiring."""
        seen: dict[object, str] = {}
        for name, signature in zip(ours, signatures, strict=True):
            turn = self._names.turns.get(name)
            key = (signature, turn) if turn is not None else (signature, "unknown")
            alike = seen.get(key)
            if alike is not None:
                told = f"other names than in the file ({_told(theirs)})"
                raise NoMatchError(f"{alike} and {name} have equal shapes, {told}, and could change places")
            seen[key] = name

    def _pair_arrays(self, stored: _Node, wanted: _Node, at: str) -> None:
        left = collections.defaultdict(list)
        for name, number, shape in stored.arrays:
            left[name].append((number, shape))
        rest = []
        for name, number, shape in wanted.arrays:
            if len(left[name]) == 1:
                other, found = left.pop(name)[0]
                self._place(f"{at}{name}", number, other, shape, found)
            else:
                rest.append((name, number, shape))
        spare = [(name, *item) for name, items in left.items() for item in items]
        if len(spare) != len(rest):
            raise NoMatchError(_unpaired(at, [name for name, *_ in spare], [name for name, *_ in rest]))
        if rest and not self._are_counted(spare, rest):
            shapes = [collections.Counter(shape for *_, shape in node.arrays) for node in (stored, wanted)]
            if any(counts[shape] != 1 for counts in shapes for *_, shape in [*spare, *rest]):
                raise NoMatchError(_unpaired(at, [name for name, *_ in spare], [name for name, *_ in rest]))
        self._place_rest(spare, rest, at)

    def _are_counted(self, spare: Sequence[_Array], rest: Sequence[_Array]) -> bool:
        """Whether none of these variables has a given name, and their shapes agree in order."""
        are_counted = all(_COUNTER.sub("", name) in _COUNTED_VARIABLES for name, *_ in [*spare, *rest])
        return are_counted and [shape for *_, shape in spare] == [shape for *_, shape in rest]

    def _place_rest(self, spare: Sequence[_Array], rest: Sequence[_Array], at: str) -> None:
        """Places variables without given names: those of one layer in the order in which the layer makes them, others only where
        their shapes are unique.
        """
        if self._are_counted(spare, rest):
            pairs = list(zip(spare, rest, strict=True))
        else:
            by_shape = {shape: (name, other, shape) for name, other, shape in spare}
            pairs = [(by_shape[item[2]], item) for item in rest]
        for (other_name, other, found), (name, number, shape) in pairs:
            if other_name != name:
                self.notes.append(f"{at}{name} from {other_name}")
            self._place(f"{at}{name}", number, other, shape, found)

    def _pair_by_shape(
        self, left: Mapping[str, _Node], open_: Mapping[str, _Node], at: str, *, fitting: list[_Node], places: list[_Node]
    ) -> None:
        """Pairs scopes whose names are not on both sides, only where their shapes are unique, so that nothing is guessed. Scopes
        left over after all others are paired may form a chain of new names.
        """
        if not left and not open_:
            return
        alike = [collections.Counter(scope.signature() for scope in scopes) for scopes in (fitting, places)]
        theirs = {scope.signature(): name for name, scope in left.items()}
        ours = {scope.signature(): name for name, scope in open_.items()}
        are_single = all(counts[signature] == 1 for counts in alike for signature in {*theirs, *ours})
        if not are_single or theirs.keys() != ours.keys():
            raise NoMatchError(_unpaired(at, list(left), list(open_)))
        for signature, name in ours.items():
            self.notes.append(f"{at}{name} from {theirs[signature]}, by its shapes")
            self.pair(left[theirs[signature]], open_[name], f"{at}{name}/")

    def _place(self, name: str, number: int, other: int, shape: tuple[int, ...], found: tuple[int, ...]) -> None:
        if shape != found:
            raise NoMatchError(f"{name} has the shape {list(found)} in the file, {list(shape)} in the model")
        self.places[number] = other


def _told(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _unpaired(at: str, theirs: Sequence[str], ours: Sequence[str]) -> str:
    return f"in {at or 'it'} the file has {_told(theirs) or 'nothing'} where the model has {_told(ours) or 'nothing'}"


def side_by_side(stored: Sequence[Slot], wanted: Sequence[Slot], *, most: int = 12) -> str:
    """Both lists where they differ, nearest names in one line: "file: a [4, 4] / model: b [4, 4]; ..."."""
    theirs = collections.Counter((slot.name, slot.shape) for slot in stored)
    ours = collections.Counter((slot.name, slot.shape) for slot in wanted)
    only_theirs, only_ours = list((theirs - ours).elements()), list((ours - theirs).elements())
    lines = []
    for name, shape in only_ours:
        near = _nearest(name, shape, only_theirs)
        if near is not None:
            only_theirs.remove(near)
        lines.append((f"{near[0]} {list(near[1])}" if near else "nothing", f"{name} {list(shape)}"))
    lines += [(f"{name} {list(shape)}", "nothing") for name, shape in only_theirs]
    told = "; ".join(f"file: {theirs_} / model: {ours_}" for theirs_, ours_ in lines[:most])
    return told + (f"; and {len(lines) - most} more" if len(lines) > most else "")


def _nearest(
    name: str, shape: tuple[int, ...], among: Sequence[tuple[str, tuple[int, ...]]]
) -> tuple[str, tuple[int, ...]] | None:
    """The most similar name, of those with the same shape if there are any, and with the same last part."""
    last = name.rsplit("/", 1)[-1]
    kinds: tuple[Callable[[tuple[str, tuple[int, ...]]], bool], ...] = (
        lambda item: item[1] == shape and item[0].rsplit("/", 1)[-1] == last,
        lambda item: item[1] == shape,
        lambda item: item[0].rsplit("/", 1)[-1] == last,
    )
    for fits in kinds:
        fitting = [item for item in among if fits(item)]
        if fitting:
            return max(fitting, key=lambda item: difflib.SequenceMatcher(None, name, item[0]).ratio())
    return None
