"""Points with infinity, over a library that has none; public scalars."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.frost import points
from signer_node.kernel.frost.points import ORDER, add, cbytes_ext, cpoint, cpoint_ext, multiply
from signer_node.kernel.frost.threshold import derive_interpolating_value

SCALARS = st.one_of(st.integers(0, ORDER - 1), st.sampled_from((0, 1, 2, ORDER - 1, ORDER - 2)))
MODEST = settings(max_examples=40, deadline=None)


def base(scalar: int) -> points.Point:
    return points.multiply_generator(scalar % ORDER)


@MODEST
@given(st.lists(SCALARS, max_size=5))
def test_sums_are_sums_infinity_included(scalars: list[int]) -> None:
    assert cbytes_ext(add(map(base, scalars))) == cbytes_ext(base(sum(scalars)))


@MODEST
@given(SCALARS, SCALARS)
def test_multiples_are_multiples_infinity_included(left: int, right: int) -> None:
    assert cbytes_ext(multiply(left, base(right))) == cbytes_ext(base(left * right))


@MODEST
@given(SCALARS)
def test_points_survive_their_bytes(scalar: int) -> None:
    encoded = cbytes_ext(base(scalar))
    assert cbytes_ext(cpoint_ext(encoded)) == encoded
    if scalar:
        assert cbytes_ext(points.negate(encoded)) == cbytes_ext(base(-scalar))
        assert points.has_even_y(encoded) == (encoded[0] == 2)


def test_what_cancels_is_infinity() -> None:
    assert add([base(5), base(-5)]) is points.INFINITY
    assert add([]) is points.INFINITY
    assert cbytes_ext(points.INFINITY) == bytes(33)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        bytes(33),
        b"\x04" + bytes(32),
        points.GENERATOR.format()[:-1],
        points.GENERATOR.format() + b"\x00",
        points.GENERATOR.format(compressed=False),
        b"\x06" + points.GENERATOR.format(compressed=False)[1:],
        b"\x02" + b"\xff" * 32,
    ],
)
def test_only_33_bytes_of_a_point_are_a_point(encoded: bytes) -> None:
    with pytest.raises(ValueError, match=r"point|public key"):
        cpoint(encoded)


@MODEST
@given(st.data(), st.integers(1, 8))
def test_coefficients_interpolate_any_polynomial(data: st.DataObject, t: int) -> None:
    coefficients = data.draw(st.lists(st.integers(0, ORDER - 1), min_size=t, max_size=t))
    ids = tuple(data.draw(st.lists(st.integers(0, 127), min_size=t, max_size=t, unique=True)))
    x = data.draw(st.integers(-1, 127))

    def value(at: int) -> int:
        return sum(one * pow(at + 1, degree, ORDER) for degree, one in enumerate(coefficients))

    interpolated = sum(derive_interpolating_value(ids, at, x) * value(at) for at in ids)
    assert interpolated % ORDER == value(x) % ORDER
