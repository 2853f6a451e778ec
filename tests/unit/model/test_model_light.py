"""A light dataclass is a frozen one to everybody but the interpreter."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

from golemp2p.model.light import light_dataclass


@light_dataclass(frozen=True, slots=True)
class Light:
    number: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Frozen:
    number: int
    text: str = ""


@light_dataclass(frozen=True, slots=True)
class Other:
    number: int
    text: str = ""


def test_it_is_compared_and_hashed_by_its_fields_and_its_class() -> None:
    assert Light(1, "a") == Light(1, "a") != Light(2, "a")
    assert Light(1) != Other(1)
    assert hash(Light(1, "a")) == hash(Frozen(1, "a"))
    assert {Light(1): "found"}[Light(1)] == "found"


def test_it_is_shown_matched_replaced_and_pickled_as_a_frozen_one() -> None:
    light = Light(1, "a")
    assert repr(light) == "Light(number=1, text='a')"
    match light:
        case Light(number, text=text):
            assert (number, text) == (1, "a")
    assert replace(light, number=2) == Light(2, "a")
    assert pickle.loads(pickle.dumps(light)) == light
    assert not hasattr(light, "__dict__")
