"""Reads an optimised program of XLA: the kernels that a GPU is given, one by one.

A kernel is an instruction that a GPU carries out: a fusion, a library's convolution or
product, a copy, a sort, a collective. What only names memory is none.
"""

import math
import re
from typing import NamedTuple

_BYTES = {"pred": 1, "u8": 1, "s8": 1, "bf16": 2, "f16": 2, "u64": 8, "s64": 8}
_NOT_KERNELS = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast"),
    *("while", "conditional", "call", "after-all", "partition-id", "replica-id"),
}
_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective",
)
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?(%\S+) = (.*)")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


class Array(NamedTuple):
    """What an instruction gives, or a part of it."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * _BYTES.get(self.dtype, 4)


class Instruction(NamedTuple):
    """One line of a program."""

    name: str
    results: tuple[Array, ...]
    opcode: str
    operands: tuple[str, ...]
    rest: str  # what follows the opcode

    @property
    def bytes(self) -> int:
        return sum(array.bytes for array in self.results)

    @property
    def target(self) -> str:
        """The library function of a custom call; otherwise empty."""
        found = re.search(r'custom_call_target="([^"]*)"', self.rest)
        return found[1] if found else ""

    @property
    def is_kernel(self) -> bool:
        return self.opcode not in _NOT_KERNELS and not self.opcode.endswith("-done")

    @property
    def is_convolution(self) -> bool:
        return self.target.startswith("__cudnn$conv")

    @property
    def is_collective(self) -> bool:
        return self.is_kernel and self.opcode.startswith(_COLLECTIVES)


Computation = dict[str, Instruction]  # by name, in the order of execution
Program = dict[str, Computation]


def _closing(text: str, start: int) -> int:
    """The position after the parenthesis that closes the one at `start`."""
    depth = 0
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if not depth:
            return position + 1
    raise ValueError(f"no closing parenthesis: {text[start : start + 80]}")


def _instruction(name: str, text: str) -> Instruction:
    end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    opened = text.index("(", end)
    closed = _closing(text, opened)
    arrays = (
        Array(dtype, tuple(int(n) for n in dims.split(",") if n))
        for dtype, dims in _ARRAY.findall(text[:end])
    )
    operands = tuple(re.findall(r"%[\w.\-]+", text[opened:closed]))
    opcode = text[end:opened].strip()
    return Instruction(name, tuple(arrays), opcode, operands, text[opened:])


def read(text: str) -> Program:
    """The computations of a program, the text of `Compiled.as_text()`."""
    computations: Program = {}
    current: Computation = {}
    for line in text.splitlines():
        if re.match(r"(ENTRY )?%\S+ \(", line):
            name = "ENTRY" if line.startswith("ENTRY") else line.split(" (")[0]
            current = computations.setdefault(name, {})
        elif found := _INSTRUCTION.match(line):
            current[found[1]] = _instruction(*found.groups())
    return computations


def _called(instruction: Instruction, role: str) -> str:
    return re.search(rf"{role}=(%[\w.\-]+)", instruction.rest)[1]


def step(program: Program) -> Computation:
    """The body of the innermost loop, or what is carried out once where none is."""
    here = program["ENTRY"]
    while loops := [i for i in here.values() if i.opcode == "while"]:
        here = max((program[_called(i, "body")] for i in loops), key=len)
    return here


def _read(fused: Computation, name: str) -> int:
    """Bytes of a value that its readers take: some of them only a part."""
    total = 0
    for reader in fused.values():
        if name not in reader.operands:
            continue
        if reader.opcode == "bitcast":
            total += _read(fused, reader.name)
        elif reader.opcode in ("slice", "dynamic-slice", "gather"):
            total += reader.bytes
        elif reader.opcode != "dynamic-update-slice" or reader.operands[0] != name:
            total += fused[name].bytes
    return min(total, fused[name].bytes)


def _written(fused: Computation, name: str) -> int:
    """Bytes of a fusion's result; what is updated in place is written in part."""
    result = fused[name]
    if result.opcode in ("tuple", "bitcast"):
        return sum(_written(fused, operand) for operand in result.operands)
    if result.opcode == "dynamic-update-slice":
        return fused[result.operands[1]].bytes
    return result.bytes


def moved(program: Program, computation: Computation, kernel: Instruction) -> int:
    """Bytes that a kernel reads and writes."""
    if kernel.opcode != "fusion":
        given = set(kernel.operands)
        return kernel.bytes + sum(computation[name].bytes for name in given)
    fused = program[_called(kernel, "calls")]
    given = [i.name for i in fused.values() if i.opcode == "parameter"]
    return sum(_read(fused, name) for name in given) + _written(fused, list(fused)[-1])


def unordered_sums(program: Program) -> int:
    """Sums whose order, and so whose rounding, may differ from time to time."""
    every = (i for computation in program.values() for i in computation.values())
    scatters = (i for i in every if i.opcode == "scatter")
    return sum("unique_indices=true" not in i.rest for i in scatters)


def images(computation: Computation, dtype: str) -> int:
    """Bytes of activations that kernels write in one dtype.

    An activation is as large as what some convolution gives; weights as large as that
    are known by being there from the start, and left out.
    """
    given = computation.values()
    sizes = {a.size for i in given if i.is_convolution for a in i.results[:1]}
    sizes -= {a.size for i in given if i.opcode == "parameter" for a in i.results}
    return sum(
        array.bytes
        for i in given
        if i.is_kernel and not i.is_convolution
        for array in i.results
        if array.dtype == dtype and array.size in sizes
    )
