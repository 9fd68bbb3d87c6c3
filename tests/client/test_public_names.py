"""What the client's methods accept and return can be imported from `chatkit.client`."""

import typing
from collections.abc import Iterator

import chatkit.client
from chatkit.client import Bot, Client, ReceivedMessage, SyncClient

LOADED_LATER = {"Consumption": object, "SyncConsumption": object}  # modules that only some programs need


def own_classes(annotation: object) -> Iterator[type]:
    """Iterate over the classes of this package that are a part of a type."""
    if isinstance(annotation, type) and annotation.__module__.startswith("chatkit."):
        yield annotation
    for part in typing.get_args(annotation):
        yield from own_classes(part)


def public_methods(owner: type) -> Iterator[object]:
    for name in dir(owner):
        if not name.startswith("_"):
            member = getattr(owner, name)
            member = member.fget if isinstance(member, property) else member
            if callable(member):
                yield member


def test_the_types_of_public_methods_are_public() -> None:
    public = {getattr(chatkit.client, name) for name in chatkit.client.__all__}
    used = {
        each
        for owner in (Bot, Client, ReceivedMessage, SyncClient)
        for method in public_methods(owner)
        for annotation in typing.get_type_hints(method, localns=LOADED_LATER).values()
        for each in own_classes(annotation)
    }
    assert used - public == set()
