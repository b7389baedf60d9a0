"""ptx_rules_memory.py: loads and stores, barriers, operations of warps and warp groups, copies."""
import re

from ptx_emit import C_TYPE, rule, vector
from ptx_reader import WIDTH

SPACE = {None: "EMU_GENERIC", "global": "EMU_GLOBAL", "shared": "EMU_SHARED", "local": "EMU_LOCAL",
         "param": "EMU_PARAMETER"}
DATA = r"(b8|u8|s8|b16|u16|s16|b32|u32|s32|f32|b64|u64|s64|f64)"


def place(e, space, text, bytes_, access):
    """C of the pointer behind an address."""
    value, parameter, offset = e.address(text)
    if parameter:
        at, size = e.kernel.parameters[parameter]
        if space != "param" or access != "EMU_READ" or not 0 <= offset <= size - bytes_:
            e.fail(f"'{text}' lies outside the parameters")
        return f"(uint8_t *)(uintptr_t)(P + {at + offset})"
    return f"emu_at({SPACE[space]}, {value}, {bytes_}, {access}, {e.line})"


@rule(r"ld(?:\.(param|global|shared|local))?(?:\.nc)?(?:\.(v2|v4))?\." + DATA, 2)
def ld(e, m, o):
    space, many, kind = m.groups()
    names, width = vector(o[0]), WIDTH[kind] // 8
    if len(names) != int((many or "v1")[1]) or len(names) * width > 16:
        e.fail("a load of so many")
    code = f"uint8_t *q = {place(e, space, o[1], width * len(names), 'EMU_READ')}; "
    plain = "b" + kind[1:] if kind[0] == "f" else kind
    return code + " ".join(e.put(n, plain, f"*({C_TYPE[plain]} *)(void *)(q + {width * i})", True)
                           for i, n in enumerate(names))


@rule(r"st(?:\.(global|shared|local))?(?:\.(v2|v4))?\." + DATA, 2)
def st(e, m, o):
    space, many, kind = m.groups()
    names, width = vector(o[1]), WIDTH[kind] // 8
    if len(names) != int((many or "v1")[1]) or len(names) * width > 16:
        e.fail("a store of so many")
    code = f"uint8_t *q = {place(e, space, o[0], width * len(names), 'EMU_WRITE')}; "
    plain = "b" + kind[1:] if kind[0] == "f" else kind
    return code + " ".join(f"*({C_TYPE[plain]} *)(void *)(q + {width * i}) = {stored(e, n, kind)};"
                           for i, n in enumerate(names))


def stored(e, text, kind):
    """What a store writes, as the bits of its type."""
    value = e.literal(text, kind) if not e.scope.find("registers", text) else None
    if value is None:
        return e.source(text, "b" + kind[1:] if kind[0] == "f" else kind, True)
    return {"f32": f"emu_uf({value})", "f64": f"emu_ud({value})"}.get(kind, value)


@rule(r"(atom|red)\.(global|shared)\.(add|max|min|or)\.(u32|s32|b32)", 2, 3)
def atomic(e, m, o):
    if len(o) != (3 if m[1] == "atom" else 2) or (m[3] == "or") != (m[4] == "b32"):
        e.fail("not an atomic operation that is known")
    at, value = o[-2], e.source(o[-1], m[4])
    form = {"add": "(uint32_t)x + (uint32_t)v", "max": "x > v ? x : v", "min": "x < v ? x : v",
            "or": "x | v"}[m[3]]
    c = C_TYPE[m[4]]
    code = (f"{c} *q = (void *){place(e, m[2], at, 4, 'EMU_ATOMIC')}, x = *q, v = {value}; "
            f"*q = ({c})({form});")
    return code + (" " + e.put(o[0], m[4], "x") if m[1] == "atom" else "")


# ---------------------------------------------------------------- barriers, warps

@rule(r"(?:bar|barrier)\.sync(?:\.aligned)?", 1, 2)
def bar(e, _, o):
    threads = e.source(o[1], "u32") if len(o) > 1 else "0"
    return f"emu_barrier({e.source(o[0], 'u32')}, {threads}, {e.line});"


@rule(r"bar\.red\.(and|or)\.pred", 3)
def bar_red(e, m, o):
    e.integer(o[1], 0, 0)
    negated = o[2].startswith("!")
    mine = ("!" if negated else "") + e.source(o[2].lstrip("!"), "pred")
    whole = "emu_block_dim.x" if m[1] == "and" else "0"
    sign = "==" if m[1] == "and" else "!="
    return e.put(o[0], "pred", f"emu_barrier_count({mine}, {e.line}) {sign} {whole}")


@rule(r"bar\.red\.popc\.u32", 3)
def bar_popc(e, _, o):
    e.integer(o[1], 0, 0)
    return e.put(o[0], "u32", f"emu_barrier_count({e.source(o[2], 'pred')}, {e.line})")


@rule(r"bar\.warp\.sync", 1)
def bar_warp(e, _, o):
    return f"emu_warp_sync({e.source(o[0], 'b32')}, {e.line});"


@rule(r"shfl\.sync\.(bfly|up|down|idx)\.b32", 5)
def shfl(e, m, o):
    to = [x.strip() for x in o[0].split("|")]
    kind = {"bfly": "XOR", "up": "UP", "down": "DOWN", "idx": "INDEX"}[m[1]]
    value, arg, clamp, members = (e.source(x, "b32") for x in o[1:])
    code = (f"bool valid; uint32_t v = emu_shuffle((struct emu_shuffle_args){{EMU_SHUFFLE_{kind}, "
            f"{value}, {arg}, {clamp}, {members}}}, &valid, {e.line}); {e.put(to[0], 'b32', 'v')}")
    if len(to) > 2:
        e.fail("too many results")
    return code + (" " + e.put(to[1], "pred", "valid") if len(to) > 1 else "")


@rule(r"vote\.sync\.(ballot\.b32|any\.pred|all\.pred)", 3)
def vote(e, m, o):
    negated, members = o[1].startswith("!"), e.source(o[2], "b32")
    mine = ("!" if negated else "") + e.source(o[1].lstrip("!"), "pred")
    found = f"emu_ballot({mine}, {members}, {e.line})"
    if m[1] == "ballot.b32":
        return e.put(o[0], "b32", found)
    return e.put(o[0], "pred", f"{found} {'!= 0' if m[1] == 'any.pred' else '== ' + members}")


@rule(r"elect\.sync", 2)
def elect(e, _, o):
    to = [x.strip() for x in o[0].split("|")]
    if len(to) != 2:
        e.fail("elect has two results")
    return (f"bool mine; uint32_t v = emu_elect({e.source(o[1], 'b32')}, &mine, {e.line}); "
            f"{e.put(to[0], 'b32', 'v')} {e.put(to[1], 'pred', 'mine')}")


@rule(r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32", 4)
def mma(e, _, o):
    d, a, b, c = map(vector, o)
    if [len(d), len(a), len(b), len(c)] != [4, 4, 2, 4]:
        e.fail("fragments of mma have 4, 4, 2 and 4 registers")
    lists = [", ".join(e.source(x, t) for x in v) for v, t in ((a, "b32"), (b, "b32"), (c, "f32"))]
    return (f"uint32_t a_[] = {{{lists[0]}}}, b_[] = {{{lists[1]}}}; float c_[] = {{{lists[2]}}}; "
            f"emu_mma(a_, b_, c_, {e.line}); "
            + " ".join(e.put(x, "f32", f"c_[{i}]") for i, x in enumerate(d)))


@rule(r"ldmatrix\.sync\.aligned\.m8n8\.x([124])(\.trans)?\.shared\.b16", 2)
def ldmatrix(e, m, o):
    to = vector(o[0])
    if len(to) != int(m[1]):
        e.fail("another number of tiles")
    return (f"uint32_t t_[4]; emu_ldmatrix({e.shared(o[1])}, {m[1]}, {int(bool(m[2]))}, t_, "
            f"{e.line}); " + " ".join(e.put(x, "b32", f"t_[{i}]") for i, x in enumerate(to)))


# ---------------------------------------------------------------- asynchronous copies

@rule(r"cp\.async\.(ca|cg)\.shared\.global(?:\.L2::(?:64|128|256)B)?", 3, 4)
def cp_async(e, m, o):
    bytes_ = e.integer(o[2], 4, 16)
    if bytes_ not in ((16,) if m[1] == "cg" else (4, 8, 16)):
        e.fail(f"a copy of {bytes_} bytes")
    valid = e.source(o[3], "u32") if len(o) == 4 else str(bytes_)
    return (f"emu_copy_async({e.shared(o[0])}, {e.address(o[1])[0] or e.fail('a parameter')}, "
            f"{bytes_}, {valid}, {e.line});")


@rule(r"cp\.async\.commit_group", 0)
def cp_commit(e, _, o):
    return "emu_copy_commit();" if not o else e.fail("operands of commit_group")


@rule(r"cp\.async\.wait_group", 1)
def cp_wait(e, _, o):
    return f"emu_copy_wait({e.integer(o[0], 0, 64)}, {e.line});"


@rule(r"cp\.async\.wait_all", 0)
def cp_wait_all(e, _, __):
    return f"emu_copy_commit(); emu_copy_wait(0, {e.line});"


# ---------------------------------------------------------------- Hopper

@rule(r"membar\.(gl|cta)|fence\.(sc|acq_rel)\.(cta|gpu)|setmaxnreg\.(inc|dec)\.sync\.aligned\.u32")
def nothing(_, __, ___):
    return ""  # the order of memory is not emulated, nor is the number of registers


@rule(r"wgmma\.fence\.sync\.aligned", 0)
def wgmma_fence(_, __, ___):
    return ""


@rule(r"fence\.proxy\.async(?:\.shared::cta)?|fence\.mbarrier_init\.release\.cluster", 0)
def fence_proxy(_, __, ___):
    return "emu_self->fences++;"


@rule(r"mbarrier\.init(?:\.shared(?:::cta)?)?\.b64", 2)
def mbar_init(e, _, o):
    return f"emu_mbar_init({e.shared(o[0])}, {e.source(o[1], 'u32')}, {e.line});"


@rule(r"mbarrier\.inval(?:\.shared(?:::cta)?)?\.b64", 1)
def mbar_inval(e, _, o):
    return f"(void)({e.shared(o[0])});"


@rule(r"mbarrier\.arrive(\.expect_tx)?(?:\.shared(?:::cta)?)?\.b64", 2, 3)
def mbar_arrive(e, m, o):
    if o[0] != "_" or len(o) != (3 if m[1] else 2):
        e.fail("the state of an arrival is not modelled: write _")
    bytes_ = e.source(o[2], "u32") if m[1] else "0"
    return f"emu_mbar_arrive({e.shared(o[1])}, {bytes_}, {e.line});"


@rule(r"mbarrier\.try_wait\.parity(?:\.shared(?:::cta)?)?\.b64", 3, 4)
def mbar_wait(e, _, o):
    return e.put(o[0], "pred",
                 f"emu_mbar_wait({e.shared(o[1])}, {e.source(o[2], 'u32')}, {e.line})")


@rule(r"cp\.async\.bulk\.tensor\.2d\.shared::cluster\.global(?:\.tile)?"
      r"\.mbarrier::complete_tx::bytes", 3)
def bulk(e, _, o):
    match = re.fullmatch(r"\[\s*([^\s,]+)\s*,\s*\{([^,]+),([^}]+)\}\s*\]", o[1])
    if not match:
        e.fail(f"'{o[1]}' names no tile")
    x, y = (e.source(match[i].strip(), "s32") for i in (2, 3))
    return (f"emu_bulk_load((struct emu_bulk){{{e.shared(o[0])}, {e.shared(o[2])}, "
            f"{e.source(match[1], 'u64')}, {x}, {y}}}, {e.line});")


@rule(r"wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k16\.f32\.bf16\.bf16", 8)
def wgmma(e, m, o):
    n, d = int(m[1]), vector(o[0])
    if n % 8 or not 8 <= n <= 256 or len(d) != n // 2:
        e.fail("a product of this width, or of so many registers, is not known")
    if [e.integer(x, -1, 1) for x in o[4:]] != [1, 1, 0, 0]:
        e.fail("scaled or transposed operands are not modelled")
    keep = e.source(o[3], "pred")
    return (f"float d_[{n // 2}] = {{{', '.join(e.source(x, 'f32') for x in d)}}}; "
            f"emu_wgmma((struct emu_wgmma){{{n}, {e.source(o[1], 'u64')}, {e.source(o[2], 'u64')}, "
            f"{keep}, d_}}, {e.line}); "
            + " ".join(e.put(x, "f32", f"d_[{i}]") for i, x in enumerate(d)))


@rule(r"wgmma\.commit_group\.sync\.aligned", 0)
def wgmma_commit(_, __, ___):
    return "emu_wgmma_commit();"


@rule(r"wgmma\.wait_group\.sync\.aligned", 1)
def wgmma_wait(e, _, o):
    return f"emu_wgmma_wait({e.integer(o[0], 0, 7)}, {e.line});"
