"""ptx_emit.py: instructions as C, by the rules of ptx_rules_*.py.

A register is an unsigned integer of its width; operations on floats look at its bits as a float. A
rule belongs to one form of an instruction with every modifier written out: a form without a rule is
an error, and so is an operand that does not have the type's width."""
import re

from ptx_error import PtxError
from ptx_reader import WIDTH

C_TYPE = {"pred": "bool", "u8": "uint8_t", "b8": "uint8_t", "s8": "int8_t", "u16": "uint16_t",
          "b16": "uint16_t", "s16": "int16_t", "bf16": "uint16_t", "u32": "uint32_t",
          "b32": "uint32_t", "s32": "int32_t", "u64": "uint64_t", "b64": "uint64_t",
          "s64": "int64_t", "f32": "float", "f64": "double"}
C_REGISTER = {1: "bool", 8: "uint8_t", 16: "uint16_t", 32: "uint32_t", 64: "uint64_t"}
SPECIAL = {f"%{name}.{d}": f"{variable}.{d}" for d in "xyz" for name, variable in
           (("tid", "emu_self->tid"), ("ctaid", "emu_block"), ("ntid", "emu_block_dim"),
            ("nctaid", "emu_grid"))}
SPECIAL["%laneid"] = "emu_self->lane"
SPECIAL["%warpid"] = "emu_self->warp"
RULES = []  # (pattern, number of operands, function)


def rule(pattern, *counts):
    """The function makes C of every instruction whose opcode the pattern matches as a whole."""
    def add(function):
        RULES.append((re.compile(pattern), counts, function))
        return function
    return add


def vector(text):
    """The members of { }, or the operand alone."""
    text = text.strip()
    return [w.strip() for w in text[1:-1].split(",")] if text[:1] == "{" else [text]


class Emitter:
    """Makes the C of one instruction at a time; line and scope are of the one at work."""

    def __init__(self, kernel, symbols):
        self.kernel, self.symbols = kernel, symbols  # symbols: {shared name: address}
        self.line, self.scope = kernel.line, None
        self.cache = {}

    def fail(self, text):
        raise PtxError(self.line, text)

    def register(self, name):
        found = self.scope.find("registers", name)
        return found or self.fail(f"register '{name}' is not declared")

    def literal(self, text, kind):
        """A number as C, None where the text is none."""
        width = WIDTH[kind]
        match = re.fullmatch(r"0([fFdD])([0-9A-Fa-f]+)", text)
        if match:
            bits = 32 if match[1] in "fF" else 64
            if len(match[2]) * 4 != bits or bits != width or kind[0] in "us":
                self.fail(f"'{text}' is no {kind}")
            return {"f32": "emu_f(0x%su)", "f64": "emu_d(0x%sull)"}.get(kind, "0x%sull") % match[2]
        if not re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", text):
            return None
        value = int(text.rstrip("U"), 0) if not re.fullmatch(r"-?0\d+U?", text) else self.fail(text)
        least = -(1 << (width - 1)) if width > 1 else 0
        if kind in ("f32", "f64") or not least <= value < 1 << width:
            self.fail(f"'{text}' is no {kind}")
        return f"({C_TYPE[kind]}){value & ((1 << width) - 1)}ull"

    def source(self, text, kind, wider=False):
        """An operand as a C value of a PTX type; wider: of a wider register the lower bits."""
        if text in SPECIAL:
            return SPECIAL[text] if WIDTH[kind] == 32 else self.fail(f"'{text}' has 32 bits")
        found = self.scope.find("registers", text)
        if not found:
            return self.literal(text, kind) or self.symbol(text, kind)
        name, own = found
        have, want = WIDTH[own], WIDTH[kind]
        if have != want and not (wider and have > want and want > 1):
            self.fail(f"register '{text}' of type .{own} stands where .{kind} must")
        if kind == "f32":
            return f"emu_f((uint32_t){name})"
        if kind == "f64":
            return f"emu_d({name})"
        return f"({C_TYPE[kind]}){name}"

    def symbol(self, text, kind):
        if text in self.symbols and WIDTH[kind] in (32, 64):
            return f"({C_TYPE[kind]}){self.symbols[text]}u"
        if WIDTH[kind] == 64 and text in [item[0] for item in self.kernel.local]:
            return f"(uint64_t)(uintptr_t)local_{text}"
        if WIDTH[kind] == 64 and text in self.kernel.parameters:
            return f"(uint64_t)(uintptr_t)(P + {self.kernel.parameters[text][0]})"
        return self.fail(f"'{text}' is not known here")

    def put(self, text, kind, value, wider=False):
        """The assignment of a C value of a PTX type to a register; wider: it may be wider."""
        if text == "_":
            return f"(void)({value});"
        name, own = self.register(text)
        have, want = WIDTH[own], WIDTH[kind]
        if have != want and not (wider and have > want and want > 1):
            self.fail(f"register '{text}' of type .{own} stands where .{kind} must")
        if kind == "f32":
            return f"{name} = emu_uf({value});"
        if kind == "f64":
            return f"{name} = emu_ud({value});"
        return f"{name} = ({C_TYPE[kind]})({value});"

    def address(self, text):
        """[base + offset]: (C expression of 64 bits, parameter's name or None, offset)."""
        match = re.fullmatch(r"\[\s*([^\s+\]]+)\s*(?:\+\s*(-?\d+))?\s*\]", text)
        if not match:
            self.fail(f"'{text}' is no address")
        base, offset = match[1], int(match[2] or 0)
        if abs(offset) >= 1 << 31:
            self.fail(f"'{text}' is no address")
        if base in self.kernel.parameters:
            return None, base, offset
        found = self.scope.find("registers", base)
        if found and WIDTH[found[1]] in (32, 64):
            value = f"(uint64_t){found[0]}"
            return f"{value} + (uint64_t)({offset}ll)", None, offset
        return f"{self.symbol(base, 'u64')} + (uint64_t)({offset}ll)", None, offset

    def shared(self, text):
        """An address in shared memory, of 32 bits."""
        value = self.address(text)[0]
        return f"(uint32_t)({value})" if value else self.fail(f"'{text}' is not in shared memory")

    def integer(self, text, least, most):
        """A number that must stand in the instruction itself."""
        if not re.fullmatch(r"-?\d+|0x[0-9a-fA-F]+", text) or not least <= int(text, 0) <= most:
            self.fail(f"'{text}' must be a number from {least} to {most}")
        return int(text, 0)

    def find_rule(self, opcode):
        found = self.cache.get(opcode)
        for pattern, counts, function in () if found else RULES:
            match = pattern.fullmatch(opcode)
            if match:
                found = self.cache[opcode] = (match, counts, function)
                break
        return found or self.fail(f"unknown instruction '{opcode}'")

    def instruction(self, i):
        self.line, self.scope = i.line, i.scope
        match, counts, function = self.find_rule(i.opcode)
        if counts and len(i.operands) not in counts:
            self.fail(f"'{i.opcode}' with {len(i.operands)} operands")
        code = function(self, match, i.operands)
        if not i.guard:
            return f"{{ {code} }}"
        name, kind = self.register(i.guard[0])
        if kind != "pred":
            self.fail(f"'{i.guard[0]}' is no predicate")
        return f"if ({'!' if i.guard[1] else ''}{name}) {{ {code} }}"
