"""The assortment: SKUs with prices, barcodes, weights and some combos, drawn from a seed."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from simulator.plan import Goods

__all__ = ["assortment", "basket", "ean13"]

SHELVES: Sequence[tuple[str, Sequence[str], tuple[int, int], tuple[int, int], str]] = (
    ("Milk", ("whole", "semi-skimmed", "oat", "lactose-free"), (119, 289), (1030, 1080), "chilled"),
    ("Yoghurt", ("plain", "strawberry", "vanilla", "skyr"), (69, 219), (150, 500), "chilled"),
    ("Bread", ("rye", "wheat", "spelt", "toast"), (149, 449), (400, 900), "normal"),
    ("Coffee", ("ground", "beans", "capsules", "instant"), (399, 1299), (200, 1000), "normal"),
    ("Tea", ("green", "black", "mint", "fruit"), (179, 599), (40, 120), "normal"),
    ("Water", ("still 1 l", "sparkling 1 l", "still 6×1 l"), (49, 399), (1000, 6300), "normal"),
    ("Juice", ("orange", "apple", "grape"), (149, 399), (1000, 1050), "normal"),
    ("Pasta", ("penne", "spaghetti", "farfalle"), (89, 259), (500, 520), "normal"),
    ("Sauce", ("tomato", "pesto", "soy"), (129, 449), (190, 500), "fragile"),
    ("Eggs", ("6 pieces", "10 pieces"), (189, 399), (360, 650), "fragile"),
    ("Fruit", ("bananas 1 kg", "apples 1 kg", "grapes 500 g"), (159, 499), (500, 1050), "normal"),
    ("Chocolate", ("dark", "milk", "nut"), (99, 349), (90, 110), "normal"),
    ("Crisps", ("salted", "paprika"), (119, 279), (150, 200), "normal"),
    ("Cat food", ("salmon", "chicken"), (59, 199), (85, 400), "normal"),
    ("Washing-up liquid", ("lemon", "sensitive"), (99, 299), (500, 550), "normal"),
    ("Nappies", ("size 3", "size 4"), (599, 1499), (1800, 2600), "oversize"),
)
"""Product, its variants, price range, weight range in grams, handling."""


def assortment(
    draw: Random, count: int, prefix: str = "", *, one_parcel: bool = False
) -> tuple[Goods, ...]:
    """``count`` single SKUs and one combo for every ten of them; prices in minor units.

    With ``one_parcel`` nothing is chilled, fragile or oversize, so that an order is not split by
    its goods (DOMAIN, Routing, rule 4)."""
    singles = [_single(draw, number, prefix) for number in range(1, count + 1)]
    if one_parcel:
        singles = [replace(goods, handling="normal") for goods in singles]
    plain = [goods for goods in singles if goods.handling in ("normal", "chilled")]
    combos = [_combo(draw, number, prefix, plain) for number in range(1, count // 10 + 1) if plain]
    return (*singles, *combos)


def basket(
    draw: Random, choice: Sequence[Goods], lines_max: int = 4
) -> tuple[tuple[str, int], ...]:
    """What one customer takes: one to ``lines_max`` lines, mostly one unit of each; now and then
    the same SKU twice."""
    wanted = min(len(choice), 1 + int(draw.betavariate(1.3, 2.0) * lines_max))
    lines = [
        (goods.sku, 1 if draw.random() < 0.75 else draw.randint(2, 3))
        for goods in draw.sample(list(choice), wanted)
    ]
    if draw.random() < 0.04:
        lines.append((lines[0][0], 1))
    return tuple(lines)


def ean13(number: int) -> str:
    """An EAN-13 of the range for internal use (20…), with its check digit."""
    body = f"20{number:010d}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(body))
    return f"{body}{-total % 10}"


def _single(draw: Random, number: int, prefix: str) -> Goods:
    product, variants, prices, weights, handling = SHELVES[(number - 1) % len(SHELVES)]
    variant = variants[(number - 1) // len(SHELVES) % len(variants)]
    weight = draw.randint(*weights)
    return Goods(
        sku=f"{prefix}sku-{number:03d}",
        name=f"{product} {variant}",
        price=draw.randint(*prices) // 10 * 10 + 9,
        barcode=ean13(number),
        weight_g=weight,
        volume_ml=int(weight * draw.uniform(1.0, 2.2)),
        handling=handling,
    )


def _combo(draw: Random, number: int, prefix: str, plain: Sequence[Goods]) -> Goods:
    parts = draw.sample(list(plain), min(2, len(plain)))
    units = [draw.randint(1, 2) for _ in parts]
    whole = sum(part.price * count for part, count in zip(parts, units, strict=True))
    return Goods(
        sku=f"{prefix}combo-{number:02d}",
        name=" + ".join(part.name for part in parts),
        price=max(1, whole * 9 // 10),
        barcode=ean13(900_000 + number),
        weight_g=sum(p.weight_g * count for p, count in zip(parts, units, strict=True)),
        volume_ml=sum(p.volume_ml * count for p, count in zip(parts, units, strict=True)),
        components=tuple((p.sku, count) for p, count in zip(parts, units, strict=True)),
    )
