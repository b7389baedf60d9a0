"""ptx_rules_numbers.py: moves, conversions, arithmetic, comparisons and jumps.

Integers are computed modulo 2^64 and cut to their width, so that nothing overflows. Approximations
give the least exact result that the manual allows (emu_cut)."""
from ptx_emit import C_TYPE, rule, vector
from ptx_reader import WIDTH

INT = r"(u16|s16|u32|s32|u64|s64)"
FLOAT = r"(f32|f64)"


def binary(e, kind, o, form):
    return e.put(o[0], kind, form.format(e.source(o[1], kind), e.source(o[2], kind)))


# ---------------------------------------------------------------- moves

@rule(r"mov\.(pred|b16|u16|s16|b32|u32|s32|f32|b64|u64|s64|f64)", 2)
def mov(e, m, o):
    kind = m[1]
    if o[0].startswith("{") == o[1].startswith("{") == False:
        return e.put(o[0], kind, e.source(o[1], kind))
    unpack = o[0].startswith("{")
    parts = vector(o[0] if unpack else o[1])
    width = WIDTH[kind] // len(parts) if kind != "pred" else 0
    if len(parts) not in (2, 4) or width < 16 or (unpack and o[1].startswith("{")):
        e.fail("a vector of this form is not known")
    part = f"b{width}"
    if unpack:
        whole = e.source(o[1], "b" + str(WIDTH[kind]))
        return f"uint64_t w = {whole}; " + " ".join(
            e.put(p, part, f"w >> {width * i}") for i, p in enumerate(parts))
    return e.put(o[0], "b" + str(WIDTH[kind]), " | ".join(
        f"(uint64_t){e.source(p, part)} << {width * i}" for i, p in enumerate(parts)))


@rule(r"cvta(\.to)?\.(global|local|param|shared)\.u64", 2)
def cvta(e, m, o):
    value = e.source(o[1], "u64")
    if m[2] == "shared":
        base = "(uint64_t)(uintptr_t)emu_smem"
        value = (f"{value} - {base} + EMU_SHARED_BASE" if m[1] else
                 f"{value} - EMU_SHARED_BASE + {base}")
    return e.put(o[0], "u64", value)


@rule(r"selp\.(b16|u16|s16|b32|u32|s32|f32|b64|u64|s64|f64)", 4)
def selp(e, m, o):
    t = m[1]
    return e.put(o[0], t, f"{e.source(o[3], 'pred')} ? {e.source(o[1], t)} : {e.source(o[2], t)}")


# ---------------------------------------------------------------- conversions

@rule(r"cvt\.(u8|s8|u16|s16|u32|s32|u64|s64)\.(u8|s8|u16|s16|u32|s32|u64|s64)", 2)
def cvt_int(e, m, o):
    return e.put(o[0], m[1], f"({C_TYPE[m[1]]}){e.source(o[1], m[2], True)}", True)


@rule(r"cvt\.rn\.(f32|f64)\.(u8|s8|u16|s16|u32|s32|u64|s64)", 2)
def cvt_to_float(e, m, o):
    return e.put(o[0], m[1], f"({C_TYPE[m[1]]}){e.source(o[1], m[2], True)}")


@rule(r"cvt\.(rni|rzi|rmi|rpi)(\.ftz)?\.(u16|s16|u32|s32|u64|s64|f32|f64)\.(f32|f64)", 2)
def cvt_to_whole(e, m, o):
    value = e.source(o[1], m[4])
    if m[2]:
        value = f"emu_ftz({value})" if m[4] == "f32" else e.fail("no .ftz of double")
    way = {"rni": "rint", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}[m[1]]
    value = f"{way}((double){value})"
    if m[3][0] == "f":
        return e.put(o[0], m[3], value) if m[3] == m[4] else e.fail("another width")
    to = "emu_to_signed" if m[3][0] == "s" else "emu_to_unsigned"
    return e.put(o[0], m[3], f"{to}({value}, {WIDTH[m[3]]})")


@rule(r"cvt\.f64\.f32", 2)
def cvt_widen(e, _, o):
    return e.put(o[0], "f64", f"(double){e.source(o[1], 'f32')}")


@rule(r"cvt\.rn\.f32\.f64", 2)
def cvt_narrow(e, _, o):
    return e.put(o[0], "f32", f"(float){e.source(o[1], 'f64')}")


@rule(r"cvt\.sat\.f32\.f32", 2)
def cvt_saturate(e, _, o):
    return e.put(o[0], "f32", f"fminf(fmaxf({e.source(o[1], 'f32')}, 0.0f), 1.0f)")


@rule(r"cvt\.rn\.bf16\.f32", 2)
def cvt_bf16(e, _, o):
    return e.put(o[0], "b16", f"emu_bf16({e.source(o[1], 'f32')})")


@rule(r"cvt\.rn\.bf16x2\.f32", 3)
def cvt_bf16x2(e, _, o):
    high, low = (f"(uint32_t)emu_bf16({e.source(x, 'f32')})" for x in o[1:])
    return e.put(o[0], "b32", f"{high} << 16 | {low}")


# ---------------------------------------------------------------- whole numbers

@rule(r"(add|sub|mul\.lo)\." + INT, 3)
def add(e, m, o):
    sign = {"add": "+", "sub": "-", "mul.lo": "*"}[m[1]]
    return binary(e, m[2], o, f"(uint64_t){{}} {sign} (uint64_t){{}}")


@rule(r"mul\.wide\.(u16|s16|u32|s32)", 3)
def mul_wide(e, m, o):
    wide = m[1][0] + str(2 * WIDTH[m[1]])
    product = " * ".join(f"({C_TYPE[wide]}){e.source(x, m[1])}" for x in o[1:])
    return e.put(o[0], wide, product)


@rule(r"mul\.hi\.(u32|s32|u64|s64)", 3)
def mul_hi(e, m, o):
    wide = "unsigned __int128" if m[1][0] == "u" else "__int128"
    return binary(e, m[1], o, f"(({wide}){{}} * ({wide}){{}}) >> {WIDTH[m[1]]}")


@rule(r"mad\.lo\." + INT, 4)
def mad(e, m, o):
    a, b, c = (f"(uint64_t){e.source(x, m[1])}" for x in o[1:])
    return e.put(o[0], m[1], f"{a} * {b} + {c}")


@rule(r"mad\.wide\.(u16|s16|u32|s32)", 4)
def mad_wide(e, m, o):
    wide = m[1][0] + str(2 * WIDTH[m[1]])
    product = " * ".join(f"(uint64_t)({C_TYPE[wide]}){e.source(x, m[1])}" for x in o[1:3])
    return e.put(o[0], wide, f"{product} + (uint64_t){e.source(o[3], wide)}")


@rule(r"(div|rem)\." + INT, 3)
def div(e, m, o):
    return binary(e, m[2], o, f"emu_{m[1]}_{C_TYPE[m[2]]}({{}}, {{}}, {e.line})")


@rule(r"(min|max)\." + INT, 3)
def min_max(e, m, o):
    a, b = e.source(o[1], m[2]), e.source(o[2], m[2])
    return e.put(o[0], m[2], f"{a} {'<' if m[1] == 'min' else '>'} {b} ? {a} : {b}")


@rule(r"(abs|neg)\.(s16|s32|s64)", 2)
def abs_neg(e, m, o):
    a = e.source(o[1], m[2])
    minus = f"0 - (uint64_t){a}"
    return e.put(o[0], m[2], minus if m[1] == "neg" else f"{a} < 0 ? {minus} : (uint64_t){a}")


@rule(r"(and|or|xor)\.(pred|b16|b32|b64)", 3)
def bits(e, m, o):
    return binary(e, m[2], o, f"{{}} {dict(zip(('and', 'or', 'xor'), '&|^'))[m[1]]} {{}}")


@rule(r"not\.(pred|b16|b32|b64)", 2)
def bits_not(e, m, o):
    return e.put(o[0], m[1], ("!" if m[1] == "pred" else "~") + e.source(o[1], m[1]))


@rule(r"(shl|shr)\.(b16|b32|b64|u16|u32|u64|s16|s32|s64)", 3)
def shift(e, m, o):
    kind, width = m[2], WIDTH[m[2]]
    if m[1] == "shl":
        kind = f"b{width}"
    a, by = e.source(o[1], kind), e.source(o[2], "u32")
    beyond = f"{a} < 0 ? -1 : 0" if kind[0] == "s" and m[1] == "shr" else "0"
    sign = "<<" if m[1] == "shl" else ">>"
    a = f"(uint64_t){a}" if m[1] == "shl" else a
    return e.put(o[0], kind, f"{by} >= {width}u ? ({beyond}) : {a} {sign} ({by} & {width - 1}u)")


@rule(r"shf\.(l|r)\.(wrap|clamp)\.b32", 4)
def funnel(e, m, o):
    low, high, by = (e.source(x, "b32") for x in o[1:])
    by = f"({by} & 31u)" if m[2] == "wrap" else f"({by} > 32u ? 32u : {by})"
    pair = f"((uint64_t){high} << 32 | {low})"
    return e.put(o[0], "b32", f"{pair} << {by} >> 32" if m[1] == "l" else f"{pair} >> {by}")


@rule(r"bfe\.(u32|s32)", 4)
def bfe(e, m, o):
    a, at, n = e.source(o[1], m[1]), e.source(o[2], "u32"), e.source(o[3], "u32")
    if m[1] == "s32":
        at, n = e.integer(o[2], 0, 31), e.integer(o[3], 1, 32)
        if at + n > 32:
            e.fail("a field beyond the register")
        return e.put(o[0], "s32", f"(int32_t)((uint32_t){a} << {32 - at - n}) >> {32 - n}")
    return e.put(o[0], "u32", f"((uint64_t){a} >> ({at} & 255u)) & ((1ull << ({n} & 63u)) - 1)")


@rule(r"bfi\.b32", 5)
def bfi(e, _, o):
    a, b = e.source(o[1], "b32"), e.source(o[2], "b32")
    at, n = e.integer(o[3], 0, 31), e.integer(o[4], 0, 32)
    mask = ((1 << n) - 1) << at & 0xffffffff
    return e.put(o[0], "b32", f"({a} << {at} & {mask}u) | ({b} & {mask ^ 0xffffffff}u)")


@rule(r"brev\.b32", 2)
def brev(e, _, o):
    a = e.source(o[1], "b32")
    return (f"uint32_t x = {a}, y = 0; "
            "for (int i = 0; i < 32; i++) y |= (x >> i & 1u) << (31 - i); "
            + e.put(o[0], "b32", "y"))


@rule(r"(clz|popc)\.b32", 2)
def count_bits(e, m, o):
    a = e.source(o[1], "b32")
    value = f"{a} ? __builtin_clz({a}) : 32" if m[1] == "clz" else f"__builtin_popcount({a})"
    return e.put(o[0], "u32", value)


@rule(r"bfind(\.shiftamt)?\.u32", 2)
def bfind(e, m, o):
    a = e.source(o[1], "u32")
    found = f"__builtin_clz({a})" if m[1] else f"31 - __builtin_clz({a})"
    return e.put(o[0], "u32", f"{a} ? (uint32_t)({found}) : 0xffffffffu")


@rule(r"lop3\.b32", 5)
def lop3(e, _, o):
    a, b, c = (e.source(x, "b32") for x in o[1:4])
    table = e.integer(o[4], 0, 255)
    terms = [" & ".join(("" if i >> s & 1 else "~") + x for s, x in ((2, a), (1, b), (0, c)))
             for i in range(8) if table >> i & 1]
    return e.put(o[0], "b32", " | ".join(f"({t})" for t in terms) or "0")


@rule(r"prmt\.b32", 4)
def prmt(e, _, o):
    a, b = e.source(o[1], "b32"), e.source(o[2], "b32")
    choice = int(o[3].rstrip("U"), 0) if o[3].rstrip("U").replace("0x", "").isalnum() and (
        o[3][0].isdigit()) else e.fail("the selection must be a number")
    pair = f"((uint64_t){b} << 32 | {a})"
    parts = []
    for i in range(4):
        nibble = choice >> 4 * i & 15
        if nibble & 8:
            e.fail("the repetition of signs is not known")
        parts.append(f"(({pair} >> {8 * nibble} & 255u) << {8 * i})")
    return e.put(o[0], "b32", " | ".join(parts))


# ---------------------------------------------------------------- floats

@rule(r"(add|sub|mul)(?:\.rn)?(\.ftz)?\." + FLOAT, 3)
def add_float(e, m, o):
    sign = {"add": "+", "sub": "-", "mul": "*"}[m[1]]
    form = f"{{}} {sign} {{}}"
    if m[2] and m[3] == "f64":
        e.fail("no .ftz of double")
    return binary(e, m[3], o, f"emu_ftz(emu_ftz({{}}) {sign} emu_ftz({{}}))" if m[2] else form)


@rule(r"fma\.rn\." + FLOAT, 4)
def fma(e, m, o):
    name = "fmaf" if m[1] == "f32" else "fma"
    return e.put(o[0], m[1], f"{name}({', '.join(e.source(x, m[1]) for x in o[1:])})")


@rule(r"fma\.(rm|rz|rp)\.f32", 4)
def fma_to(e, m, o):
    way = {"rm": -1, "rz": 0, "rp": 1}[m[1]]
    return e.put(o[0], "f32",
                 f"emu_fma_to({', '.join(e.source(x, 'f32') for x in o[1:])}, {way})")


@rule(r"div\.rn\." + FLOAT, 3)
def div_float(e, m, o):
    return binary(e, m[1], o, "{} / {}")


@rule(r"div\.(full|approx)(\.ftz)?\.f32", 3)
def div_approx(e, _, o):
    return binary(e, "f32", o, "emu_cut({} / {}, 21)")


@rule(r"(sqrt|rcp)\.rn\." + FLOAT, 2)
def sqrt(e, m, o):
    a = e.source(o[1], m[2])
    return e.put(o[0], m[2], f"1 / {a}" if m[1] == "rcp" else
                 f"{'sqrtf' if m[2] == 'f32' else 'sqrt'}({a})")


APPROXIMATIONS = {"ex2": ("exp2f({})", 21), "lg2": ("log2f({})", 21), "tanh": ("tanhf({})", 11),
                  "rcp": ("1.0f / {}", 22), "sqrt": ("sqrtf({})", 22),
                  "rsqrt": ("1.0f / sqrtf({})", 21)}


@rule(r"(ex2|lg2|tanh|rcp|sqrt|rsqrt)\.approx(\.ftz)?\.f32", 2)
def approximate(e, m, o):
    form, exact = APPROXIMATIONS[m[1]]
    a = e.source(o[1], "f32")
    value = f"emu_cut({form.format(f'emu_ftz({a})' if m[2] else a)}, {exact})"
    return e.put(o[0], "f32", f"emu_ftz({value})" if m[2] else value)


@rule(r"(min|max)\.(f32|f64)", 3)
def min_max_float(e, m, o):
    return binary(e, m[2], o, f"{'emu_' + m[1] if m[2] == 'f32' else 'f' + m[1]}({{}}, {{}})")


@rule(r"(abs|neg)(\.ftz)?\." + FLOAT, 2)
def abs_neg_float(e, m, o):
    a = e.source(o[1], m[3])
    value = f"-{a}" if m[1] == "neg" else f"fabs{'f' if m[3] == 'f32' else ''}({a})"
    return e.put(o[0], m[3], f"emu_ftz({value})" if m[2] and m[3] == "f32" else value)


@rule(r"copysign\.f32", 3)
def copysign(e, _, o):
    return binary(e, "f32", [o[0], o[2], o[1]], "copysignf({}, {})")


# ---------------------------------------------------------------- comparisons and jumps

SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


@rule(r"setp\.(eq|ne|lt|le|gt|ge|lo|ls|hi|hs|equ|neu|ltu|leu|gtu|geu|nan|num)"
      r"(?:\.(and|or|xor))?(?:\.ftz)?\.(b16|u16|s16|b32|u32|s32|b64|u64|s64|f32|f64)", 3, 4)
def setp(e, m, o):
    how, join, kind = m.groups()
    if (join is None) != (len(o) == 3):
        e.fail("a predicate to join with is missing, or too many")
    a, b = e.source(o[1], kind), e.source(o[2], kind)
    if kind[0] == "f":
        nan = f"({a} != {a} || {b} != {b})"
        if how in ("lo", "ls", "hi", "hs"):
            e.fail(f"no '{how}' of floats")
        if how in ("nan", "num"):
            value = nan if how == "nan" else f"!{nan}"
        elif how == "ne":
            value = f"!{nan} && {a} != {b}"
        elif how.endswith("u"):
            value = f"{nan} || {a} {SIGNS[how[:2]]} {b}"
        else:
            value = f"{a} {SIGNS[how]} {b}"
    else:
        how = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}.get(how, how)
        if how not in SIGNS or (kind[0] == "b" and how not in ("eq", "ne")):
            e.fail(f"no such comparison of .{kind}")
        value = f"{a} {SIGNS[how]} {b}"
    if join:
        other = o[3]
        other = f"!{e.source(other[1:], 'pred')}" if other[0] == "!" else e.source(other, "pred")
        value = f"({value}) {dict(zip(('and', 'or', 'xor'), '&|^'))[join]} {other}"
    return e.put(o[0], "pred", value)


@rule(r"bra(?:\.uni)?", 1)
def bra(e, _, o):
    label = e.scope.find("labels", o[0]) or e.fail(f"there is no label '{o[0]}'")
    return f"emu_jump({e.line}); goto {label};"


@rule(r"ret|exit", 0)
def ret(e, _, o):
    return "return;" if not o else e.fail("operands of ret")


@rule(r"trap", 0)
def trap(e, _, __):
    return f'emu_fault({e.line}, "trap"); return;'
