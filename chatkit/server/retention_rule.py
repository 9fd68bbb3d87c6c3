"""The rule by which old messages are removed: that of the server, or of a room."""

from typing import NamedTuple

from chatkit.core.access import RoomSettings, is_system_room


class RetentionRule(NamedTuple):
    """The number of messages to keep and their age in seconds; None for no limit."""

    keep: int | None
    keep_for_s: float | None

    @property
    def has_limit(self) -> bool:
        """Whether the rule removes any message."""
        return self.keep is not None or self.keep_for_s is not None

    def of_room(self, settings: RoomSettings) -> "RetentionRule":
        """Return the rule of a room with these settings, where this one is the server's."""
        keep = self.keep if settings.keep is None else settings.keep
        return RetentionRule(keep, self.keep_for_s if settings.keep_for_s is None else settings.keep_for_s)

    def in_room(self, room: str) -> "RetentionRule":
        """Return the part of the server's rule that is for a room without settings."""
        return RetentionRule(None, self.keep_for_s) if is_system_room(room) else self

    def keeps_more_than(self, other: "RetentionRule") -> bool:
        """Return whether this rule may keep a message that the other, which has fewer limits or as many, removes."""
        pairs = ((self.keep, other.keep), (self.keep_for_s, other.keep_for_s))
        return any(own is not None and others is not None and own > others for own, others in pairs)
