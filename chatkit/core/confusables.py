"""Characters that look like others, as the code points of each look.

Generated from the confusables of Unicode 15.1 (UTS 39): letters, digits and signs that look like Latin letters or
digits, and the letters of Latin, Cyrillic, Greek, Armenian, Cherokee, Coptic, Lisu and Georgian that look like each
other. Characters that NFKC replaces anyway are left out, and looks are folded as in `names.skeleton`.
"""

from typing import Final

_SOURCES: Final = {
    "2": "1a7 1bb 3e8 14bf 2781 a644 a6ef a75a",
    "3": "1b7 21c 417 498 4e0 2782 2ccc a76a a7ab 118ca 16f3b 1d206",
    "4": "13ce 2783 118af",
    "5": "1bc 2784 118bb",
    "6": "431 13ee 2785 2cd2 118d5",
    "7": "2786 104d2 118c6 1d212",
    "8": "222 223 9ea a6a 2787 1031a 1e8cb",
    "9": "9ed a67 b68 d6d 2788 2cca a76e 118ac 118cc 118d6",
    "a": "251 391 3b1 410 430 13aa 15c5 2376 237a a4ee 102a0 16f40",
    "aa": "a732 a733",
    "ae": "c6 e6 4d4 4d5",
    "ao": "a734 a735",
    "ar": "1f707",
    "au": "a736 a737",
    "av": "a738 a739 a73a a73b",
    "ay": "a73c a73d",
    "b": (
        "180 182 183 184 253 392 411 412 42c 462 463 48c 48d 13cf 13f4 1472 1473 15af 15f7 a4d0 a7b4 10282 102a1 10301"
    ),
    "bl": "42b",
    "c": "a2 23c 421 441 4aa 4ab 13df 1d04 2ca4 2ca5 a4da abaf 102a2 10302 10415 1043d 1051c 118e9 118f2 1f74c",
    "d": "d0 110 111 189 18c 256 257 501 13a0 13e7 146f 15de 15ea 20ab a4d2 a4d3",
    "dz": "2a3",
    "d\u021d": "2a4",
    "d\u0291": "2a5",
    "e": "246 247 395 415 435 4bd 4be 4bf 13ac 212e 22ff 2d39 a4f0 ab32 10286 118a6 118ae",
    "f": "191 192 3dc 584 15b4 1d6e 1e9d a4dd a798 a799 ab35 10287 102a5 10525 118a2 118c2 1d213",
    "f\u014b": "2a9",
    "g": "18d 1e4 1e5 260 261 50c 581 13c0 13f3 1d83 a4d6",
    "h": "126 127 266 397 41d 45b 4a2 4bb 4c7 4c9 570 13bb 13c2 13f2 157c 2c67 2c8e a4e7 a695 102cf",
    "j": "248 249 37f 3f3 408 458 13ab 148d a4d9 a7b2",
    "k": "199 39a 41a 49a 49e 13e6 16d5 20ad 2c69 2c94 a4d7 a740 10518",
    "l": (
        "131 141 142 196 197 19a 1c0 268 269 26a 26b 26d 399 3b9 406 456 4c0 4cf 5d5 5df 627 661 6f1 7ca 13a5 13de "
        "14aa 16c1 18f3 1d7b 1d7c 2223 2373 2378 23fd 2780 2c92 2cd0 2d4f a4e1 a4f2 a647 ab75 1028a 10309 10320 1041b "
        "10526 118a3 118b2 118c3 16f16 16f28 1d22a 1e8c7"
    ),
    "ll": "1c1 5f0 2225 10199",
    "lls": "10198",
    "lo": "42e 23e8 2789",
    "ls": "2aa",
    "lt": "20b6",
    "lz": "2ab",
    "l\u021d": "26e",
    "n": "19d 19e 272 273 39d 3b7 578 57c 1d70 2c9a a4e0 a4f5 1018e 10513",
    "o": (
        "d8 f8 19f 1fe 275 398 39f 3b8 3bf 3c3 3db 41e 43e 472 473 4e8 4e9 555 585 5e1 647 665 6be 6c1 6d5 6f5 6ff "
        "7c0 966 9e6 a66 ae6 b20 b66 be6 c66 ce6 d20 d66 e50 ed0 101d 1040 10ff 12d0 13be 13eb 1d0f 1d11 2296 229d "
        "236c 2c9e 2c9f 2d31 2d41 2d54 3007 a4f3 a74a a74b ab3d ab3e ab74 ab8e abbb 10292 102ab 10404 1042c 104c2 "
        "104ea 10516 114d0 118b5 118c8 118d7 118e0 1d21a 1f10d 1f714"
    ),
    "oe": "152 153",
    "oo": "221e a698 a699 a74e a74f",
    "o\u1d07": "276",
    "p": "1a5 3a1 3c1 420 440 13e2 146d 1d7d 2374 2ca2 2ca3 a4d1 10295",
    "q": "2a0 51b 563 566 2d55",
    "qe": "1f700",
    "r": "1a6 24d 27c 27d 433 493 13a1 13d2 1587 18f4 1d26 1d72 2c85 a4e3 ab47 ab48 ab81 104b4 16f35 1d216",
    "rn": "271 39c 3fa 41c 4cd 13b7 15f0 16d6 1d6f 20a5 2c98 a4df ab51 102b0 10311 11700 118e3",
    "rnb": "1f76b",
    "s": "1bd 282 405 455 54f 13d5 13da 1d74 a4e2 a731 abaa 10296 10420 10448 118c1 16f3a",
    "ss": "3b2 13f0 a7b5",
    "sss": "1f75c",
    "t": ("166 167 1ad 1ae 23e 3a4 422 4ac 13a2 1d75 22a4 2361 27d9 2ca6 a4d4 10297 102b1 10315 118bc 16f0a 1f768"),
    "t3": "a728",
    "tf": "a777",
    "ts": "2a6",
    "t\u021d": "a729",
    "t\u0255": "2a8",
    "t\u0283": "2a7",
    "u": (
        "244 28b 3c5 54d 57d 1200 13cc 144c 1d1c 1d7e 222a 22c3 a4f4 a79f ab4e ab52 ab9c 104ce 104f6 118b8 118d8 16f42"
    ),
    "ue": "1d6b",
    "uo": "ab63",
    "v": (
        "3bd 474 475 5d8 667 6f7 13d9 142f 1d20 2228 22c1 2d38 a4e6 a6df aba9 10197 1051d 11706 118a0 118c0 16f08 1d20d"
    ),
    "vb": "1f76c",
    "vv": "26f 461 51c 51d 561 13b3 13c7 13d4 1d21 20a9 a4ea a761 ab83 114c5 1170a 1170e 1170f 118e6 118ef",
    "x": (
        "d7 3a7 425 445 4b2 1541 157d 166d 16b7 2573 292b 292c 2a2f 2a30 2cac 2d5d a4eb a7b3 10196 10290 102b4 10317 "
        "10322 10527 118ec"
    ),
    "y": (
        "a5 1b4 24e 24f 263 28f 3a5 3b3 423 443 4ae 4af 4b0 4b1 10e7 13a9 13bd 1d8c 1eff 2ca8 a4ec ab5a 102b2 118a4 "
        "118dc 16f43"
    ),
    "z": "1b5 1b6 224 225 290 396 13c3 1d22 1d76 a4dc ab93 102f5 118a9 118c4 118e5",
    "\u00fe": "1bf 3f7 3f8",
    "\u0138": "3ba 43a 49b 49f 1d0b 2c95 abb6",
    "\u0185": "44c ab9f",
    "\u0185l": "44b",
    "\u0195": "50a",
    "\u01a8": "3e9 1d24 a645",
    "\u01ab": "163 21b 13bf",
    "\u01dd": "259 4d8 4d9 a4f1",
    "\u01ddo": "1d14 ab41 ab42",
    "\u021d": "292 4e1 10f3 2ccd a76b",
    "\u0237": "575",
    "\u0242": "ab7e",
    "\u024b": "1d90",
    "\u0250": "a4ef",
    "\u0254": "37b 3fd 1d10 2184 a4db ab3f",
    "\u0254e": "ab62",
    "\u025c": "437 499 1d08",
    "\u0262": "50d 13fb ab90",
    "\u0270": "57a",
    "\u0278": "3c6 424 444 553 2caa 2cab",
    "\u027e": "1d73",
    "\u0280": "ab71 aba2",
    "\u0283": "3a3 ab4d",
    "\u028a": "1d7f",
    "\u028c": "39b 41b 4c5 1d27 a4e5",
    "\u028d": "43c 4ce 1d0d ab87",
    "\u0298": "a668",
    "\u0299": "432 13fc",
    "\u029a": "a79d",
    "\u029c": "43d 4a3 4c8 4ca ab8b",
    "\u029f": "2cd1 abae",
    "\u037d": "a73e a73f",
    "\u03bb": "2c96",
    "\u03c0": "41f 43f 1d28 2ca0",
    "\u03c7": "2cad ab53 ab55",
    "\u03c8": "470 471 2cae",
    "\u03c9": "2cb1 a64d a7b6 a7b7",
    "\u03d7": "2ce4",
    "\u03ed": "2cdc",
    "\u0436": "496 497",
    "\u043b": "4c6 1d2b",
    "\u0448": "2cbc 2cbd",
    "\u044al": "a650",
    "\u044f": "1d19",
    "\u0459": "ab60",
    "\u04b7": "4cb 4cc",
    "\u13ef": "1ff6",
    "\u1d00": "ab7a",
    "\u1d05": "ab70",
    "\u1d07": "ab7c",
    "\u1d0a": "ab7b",
    "\u1d0e": "376 377 438 48a 48b",
    "\u1d18": "1d29 abb2",
    "\u1d1b": "3c4 442 ab72",
    "\u1e9f": "3b4 56e 2c86",
    "\u2c76": "370 13a8 13b0 ab80",
    "\u2d00": "a786",
    "\ua4d5": "a7b1",
    "\ua4e4": "a79e",
    "\ua727": "a795",
    "\ua793": "25b 3b5 404 454 510 511 13cb 2c88 2c89 ab9b",
}

# Also the look-alikes of ASCII: `I`, `l`, `1` and `|`; `O` and `0`; `m` and `rn`; `w` and `vv`.
_ASCII: Final = {"m": "rn", "w": "vv", "i": "l", "1": "l", "|": "l", "0": "o"}

# For `str.translate`: the look of each code point.
LOOKS: Final[dict[int, str]] = {
    **{int(source, 16): look for look, sources in _SOURCES.items() for source in sources.split()},
    **{ord(source): look for source, look in _ASCII.items()},
}
