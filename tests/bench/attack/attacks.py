"""The attacks: what each is, whether its clients hold on or come and go, and what it and the probe speak."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Attack:
    what: str
    holds: bool = False  # connections are opened once; what counts is whether and when the server ends them
    over: str = "h1"     # what the listener is: h1, h2 (by prior knowledge) or tls; the probe speaks it, too


ATTACKS = {
    "slow_heads": Attack("1,000 heads, a byte a second, without end", holds=True),
    "slow_bodies": Attack("500 uploads, a byte of 100,000 a second", holds=True),
    "slow_readers": Attack("300 clients ask for 20 MiB and read 16 bytes a second, or nothing", holds=True),
    "open": Attack("19,000 connections that fall silent after a request", holds=True),
    "churn": Attack("a connection a request, 32 at a time"),
    "reset": Attack("a request or half of one, then a reset, 32 at a time"),
    "pipeline": Attack("16 pipelines without end"),
    "bombs": Attack("64 heads without end at full speed: many small fields, or one huge"),
    "mutated": Attack("20,000 mutated requests"),
    "descriptors": Attack("400 clients hold connections of a server with 200 descriptors", holds=True),
    "stalled_handshakes": Attack("1,000 TLS connections: a third silent, a third with half a hello, a third with a whole "
                                 "one and nothing more", holds=True, over="tls"),
    "handshake_flood": Attack("a hello, the server's answer with its signature, a reset, 64 at a time", over="tls"),
    "rapid_reset": Attack("16 connections of requests, each reset at once", over="h2"),
    "made_you_reset": Attack("16 connections of requests that the server has to reset: a window that grows by 0", over="h2"),
    "continuation_flood": Attack("16 blocks of fields that never end: empty frames, a field each, 200 each", over="h2"),
    "header_bombs": Attack("16 connections of blocks that unpack to much: 14 values of 4 KiB; 16,000 references of a byte "
                           "each to a value of 4,000; 16,000 to a crumb of a Cookie", over="h2"),
    "ping_flood": Attack("16 connections of PINGs", over="h2"),
    "settings_flood": Attack("16 connections of SETTINGS", over="h2"),
    "window_update_flood": Attack("16 connections of WINDOW_UPDATEs by one byte", over="h2"),
    "window_drip": Attack("30 connections of 100 streams that ask for 100 KiB through a window of 0 bytes, opened by one a "
                          "second", holds=True, over="h2"),
    "slow_data": Attack("50 connections of 20 uploads, a byte a second each", holds=True, over="h2"),
    "stream_churn": Attack("16 connections of 100 requests at once, another as each is answered", over="h2"),
}
# A page's two tables.
GROUPS = {
    "attacks": [name for name, a in ATTACKS.items() if a.over == "h1"],
    "attacks-tls-http2": [name for name, a in ATTACKS.items() if a.over != "h1"],
}
