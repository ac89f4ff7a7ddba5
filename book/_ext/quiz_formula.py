"""Evaluates the formulas of the quiz banks: arithmetic on numbers and named prices, and nothing else."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Final

_BINARY: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: Final[dict[str, Callable[..., float]]] = {
    "ceil": math.ceil,
    "floor": math.floor,
    "max": max,
    "min": min,
    "sqrt": math.sqrt,
}
_LARGEST_EXPONENT: Final = 1000.0


class FormulaError(ValueError):
    """A formula cannot be computed; the message quotes it and says why."""


def evaluate(formula: str, names: Mapping[str, float]) -> float:
    """The value of `formula`, such as `hosting * 730 / ceil(3.2)`; raises FormulaError."""
    try:
        return float(_value(ast.parse(formula.strip(), mode="eval").body, names))
    except FormulaError as problem:
        raise FormulaError(f"formula {formula!r}: {problem}") from None
    except (SyntaxError, ArithmeticError, TypeError, ValueError) as problem:
        raise FormulaError(f"formula {formula!r} cannot be computed: {problem}") from None


def _value(node: ast.expr, names: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.Name(id=name):
            return _named(name, names)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _combined(sign, _value(left, names), _value(right, names))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_value(argument, names) for argument in arguments))
    raise FormulaError(f"{ast.unparse(node)!r} is not arithmetic")


def _named(name: str, names: Mapping[str, float]) -> float:
    if name not in names:
        raise FormulaError(f"nothing is called {name!r}. Give it a row of the price book under `prices`.")
    return names[name]


def _combined(sign: ast.operator, left: float, right: float) -> float:
    if isinstance(sign, ast.Pow) and abs(right) > _LARGEST_EXPONENT:
        raise FormulaError(f"the exponent {right:g} is too large")
    return _BINARY[type(sign)](left, right)
