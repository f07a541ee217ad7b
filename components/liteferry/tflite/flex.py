"""TensorFlow operations in a .tflite file, which a runtime with the Flex delegate would run. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

PREFIX = "Flex"
UNKNOWN = "?"
# Fields of NodeDef, of an entry of its attributes, of AttrValue and of AttrValue.ListValue.
_OPERATION, _ATTRIBUTES, _VALUE, _FUNCTION, _LIST, _LISTED_FUNCTION = 2, 5, 2, 10, 1, 9


def operations(content: bytes) -> Iterator[str]:
    """Both names of each such operator in all subgraphs: that of its code, and that in its options, which is what the delegate
    runs. UNKNOWN for options that are none, or that name functions.
    """
    for code, options in _custom_operators(content):
        if code.startswith(PREFIX):
            yield code.removeprefix(PREFIX)
            try:
                yield _operation_in(options)
            except Exception:  # noqa: BLE001  # flexbuffers may raise anything on crafted bytes
                yield UNKNOWN


def _custom_operators(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The code and the options of every operator that has a code of its own."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    for subgraph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(subgraph.Operators, range(subgraph.OperatorsLength())):
            code = model.OperatorCodes(operator.OpcodeIndex()).CustomCode()
            if code:
                yield code.decode(), operator.CustomOptionsAsNumpy().tobytes() if operator.CustomOptionsLength() else b""


def _operation_in(options: bytes) -> str:
    """The operation of the NodeDef that is the second part of an operator's options."""
    from flatbuffers import flexbuffers

    from liteferry.samples.formats import proto_wire

    _, node = (part.AsStringBytes for part in flexbuffers.GetRoot(options).AsVector)
    parts = list(proto_wire.fields(node))
    for entry in (value for number, value in parts if number == _ATTRIBUTES and isinstance(value, bytes)):
        if any(
            _names_functions(value) for number, value in proto_wire.fields(entry) if number == _VALUE and isinstance(value, bytes)
        ):
            raise ValueError("it names functions, and the file has none")
    (operation,) = [value for number, value in parts if number == _OPERATION and isinstance(value, bytes)]
    return operation.decode()


def _names_functions(attribute: bytes) -> bool:
    from liteferry.samples.formats import proto_wire

    for number, value in proto_wire.fields(attribute):
        listed = [at for at, _ in proto_wire.fields(value)] if number == _LIST and isinstance(value, bytes) else []
        if number == _FUNCTION or _LISTED_FUNCTION in listed:
            return True
    return False
