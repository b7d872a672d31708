"""What the functions of the grammar are worth: logarithms of what is large, determinants, norms."""

import functools
from typing import Any

import numpy as np

from .arithmetics import Unsaid
from .densities import density
from .names import Each
from .tokens import Node
from .values import Arithmetic


class Functions(Arithmetic):
    """Evaluates what stands after a function's name or between bars."""

    def _of_call(self, function: str, *arguments: Node) -> Any:
        if function == "log":
            return self._log(arguments[0])
        values = [self.of(argument) for argument in arguments]
        if function in ("max", "min"):
            return getattr(self.f, function)(*values)
        own = f"_call_{function}"
        return (getattr(self, own) if hasattr(self, own) else getattr(self.f, function))(*values)

    def _log(self, inner: Node) -> Any:
        """Of Gamma, B, a factorial, a determinant or a density without the number itself, which may overflow."""
        while inner.kind == "group":
            (inner,) = inner.parts
        if inner.kind == "call" and inner.parts[0] == "gamma":
            return self.f.lgamma(self.of(inner.parts[1]))
        if inner.kind == "call" and inner.parts[0] == "beta":
            return self._log_beta(*map(self.of, inner.parts[1:]))
        if inner.kind == "call" and inner.parts[0] == "det":
            return self.f.logdet(self.of(inner.parts[1]))
        if inner.kind == "call" and inner.parts[0] == "exp":
            return self.of(inner.parts[1])
        if inner.kind == "factorial":
            return self.f.lgamma(self.of(inner.parts[0]) + 1)
        if inner.kind == "ratio" and any(self._huge(part) for part in inner.parts):
            return self._log(inner.parts[0]) - self._log(inner.parts[1])
        if inner.kind == "product" and any(self._huge(part) for part in inner.parts):
            return functools.reduce(lambda a, b: a + b, map(self._log, inner.parts))
        if inner.kind == "apply":
            meaning = self._meaning(*inner.parts)[0] if self.knows(inner) else None
            if hasattr(meaning, "logpdf"):
                return density(self.f, meaning, self.of(inner.parts[1][0][0]), log=True)
            if hasattr(meaning, "log"):
                arguments = [argument for group in inner.parts[1] for argument in group]
                return meaning.log(*self._arguments(arguments, meaning.formal))
        return self.f.log(self.of(inner))

    def _huge(self, node: Node) -> bool:
        """Whether its logarithm is better taken of it than of its value."""
        while node.kind == "group":
            (node,) = node.parts
        if node.kind in ("ratio", "product"):
            return any(self._huge(part) for part in node.parts)
        if node.kind == "apply":
            try:
                meaning = self._meaning(*node.parts)[0]
                return hasattr(meaning, "logpdf") or hasattr(meaning, "log")
            except Unsaid:
                return False
        return node.kind in ("factorial", "normal") or (
            node.kind == "call" and node.parts[0] in ("gamma", "beta", "det")
        )

    def _log_beta(self, a: Any, b: Any) -> Any:
        return self.f.lgamma(a) + self.f.lgamma(b) - self.f.lgamma(a + b)

    def _call_gamma(self, x: Any) -> Any:
        return self.f.exp(self.f.lgamma(x))

    def _call_beta(self, a: Any, b: Any) -> Any:
        return self.f.exp(self._log_beta(a, b))

    def _call_det(self, matrix: Any) -> Any:
        return self.f.exp(self.f.logdet(matrix))

    def _call_tr(self, matrix: Any) -> Any:
        return np.trace(matrix)

    def _call_diag(self, vector: Any) -> Any:
        return np.diag(vector)

    def _call_abs(self, x: Any) -> Any:
        return self.f.abs(_no_matrix(x, "bars around a matrix: its determinant is written as \\det"))

    def _call_norm(self, vector: Any) -> Any:
        return self.f.sqrt(self.f.sum(_no_matrix(vector) * vector))

    def _call_norm1(self, vector: Any) -> Any:
        return self.f.sum(self.f.abs(_no_matrix(vector)))

    def _call_norm_max(self, vector: Any) -> Any:
        if isinstance(vector, Each):
            raise TypeError("a norm over the draws")  # as Each.sum has it, which the other norms meet
        return functools.reduce(self.f.max, np.ravel(self.f.abs(_no_matrix(vector))))

    def _call_norm_frobenius(self, matrix: Any) -> Any:
        return self.f.sqrt(self.f.sum(matrix * matrix))

    def _call_phi(self, x: Any) -> Any:
        return self.f.exp(-(x**2) / 2) / self.f.sqrt(2 * self.f.pi)


def _no_matrix(x: Any, said: str = "a norm of a matrix, which has several: F at the bars says which one") -> Any:
    """The number or vector; Unsaid for a matrix."""
    if np.ndim(x) == 2 and not isinstance(x, Each):
        raise Unsaid(said)
    return x
