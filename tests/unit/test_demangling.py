"""C++ names are shown as their source has them."""

import pytest

from lablib.demangling import demangle


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        ("_ZL12fill_in_formm", "fill_in_form"),
        ("_ZN7PolygonC4Em", "Polygon::Polygon"),
        ("_ZNK4Room4nameEv", "Room::name"),
        ("_ZNK4RoomclEi", "Room::operator()"),
        (
            "_ZNKSt6vectorIPFicESaIS1_EE4sizeEv",
            "std::vector<int (*)(char), std::allocator<int (*)(char)> >::size",
        ),
        ("_Znwm", "operator new"),
        ("_ZTV4Room", "vtable for Room"),
        ("_ZN12_GLOBAL__N_14hideEv", "(anonymous namespace)::hide"),
    ],
)
def test_a_function_is_named_without_its_parameters(symbol, shown):
    assert demangle(symbol) == shown


@pytest.mark.parametrize("name", ["main", "_Z", "_Zebra", "_start", ""])
def test_what_is_not_mangled_stays_as_it_is(name):
    assert demangle(name) == name
