"""ptx_reader.py: a PTX file as modules, kernels and instructions; only the form that nvcc writes.

Whatever is not understood is a PtxError with its line: a directive, a type, a name that is used
twice or never declared. Types are kept as PTX writes them (b32, pred, f64)."""
import re

from ptx_error import PtxError

WIDTH = {"pred": 1, "b8": 8, "u8": 8, "s8": 8, "b16": 16, "u16": 16, "s16": 16, "f16": 16,
         "bf16": 16, "b32": 32, "u32": 32, "s32": 32, "f32": 32, "b64": 64, "u64": 64, "s64": 64,
         "f64": 64}
NAME = r"[A-Za-z_$%][\w$]*"
VARIABLE = re.compile(rf"\.(shared|global|const)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+({NAME})"
                      r"(?:\[(\d*)\])?")
REGISTERS = re.compile(rf"\.reg\s+\.(\w+)\s+(.+)", re.S)
PARAMETER = re.compile(rf"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)(?:\s+\.ptr\s+(?:\.\w+\s+)?"
                       rf"(?:\.align\s+\d+)?)?\s+({NAME})(?:\[(\d+)\])?")
ENTRY = re.compile(rf"\.visible\s+\.entry\s+({NAME})\s*\(")
HEADER = re.compile(r"\.(version|target|address_size)[ \t]+([^\n]+)")
MOST_REGISTERS = 1 << 16


class Instruction:
    """guard: None or (register, negated); operands: texts, split at commas outside brackets."""

    def __init__(self, line, guard, opcode, operands, scope):
        self.line, self.guard, self.opcode = line, guard, opcode
        self.operands, self.scope = operands, scope


class Scope:
    """Names of a { } of a kernel."""

    def __init__(self, parent, number):
        self.parent, self.number = parent, number
        self.registers, self.labels = {}, {}

    def find(self, kind, name):
        scope = self
        while scope:
            found = getattr(scope, kind).get(name)
            if found is not None:
                return found
            scope = scope.parent
        return None


class Kernel:
    def __init__(self, name, line):
        self.name, self.line = name, line
        self.parameters = {}  # name: (offset, bytes)
        self.parameter_bytes = 0
        self.most_threads = 0
        self.shared, self.local = [], []  # (name, align, bytes)
        self.registers = []  # (C name, type) in the order of their declaration
        self.body = []  # Instruction, or the C name of a label


class Module:
    def __init__(self):
        self.target, self.version = None, None
        self.shared, self.kernels = [], []


def number(text, line, most):
    try:
        value = int(text)
    except ValueError:
        raise PtxError(line, f"'{text}' is not a number") from None
    if not 0 <= value <= most:
        raise PtxError(line, f"{value} is more than the {most} that are read")
    return value


def width_of(kind, line):
    if kind not in WIDTH:
        raise PtxError(line, f"unknown type '.{kind}'")
    return WIDTH[kind]


def split_operands(text, line):
    out, depth, word = [], 0, ""
    for c in text:
        depth += (c in "{[(") - (c in "}])")
        if depth < 0:
            raise PtxError(line, "brackets do not match")
        if c == "," and depth == 0:
            out.append(word.strip())
            word = ""
        else:
            word += c
    if depth:
        raise PtxError(line, "brackets do not match")
    if word.strip() or out:
        out.append(word.strip())
    if "" in out:
        raise PtxError(line, "an operand is missing")
    return out


class Reader:
    def __init__(self, text):
        # Comments go, lines stay.
        text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)
        self.text = re.sub(r"//[^\n]*", "", text)
        self.at = 0
        self.module = Module()

    def line(self, at=None):
        return self.text.count("\n", 0, self.at if at is None else at) + 1

    def skip(self):
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def until(self, end, what):
        """The text up to a character, which is passed over."""
        found = self.text.find(end, self.at)
        if found < 0:
            raise PtxError(self.line(), f"{what} has no '{end}'")
        text = self.text[self.at:found]
        self.at = found + 1
        return text

    # ------------------------------------------------------------------ module

    def read(self):
        self.skip()
        while self.at < len(self.text):
            self.module_statement()
            self.skip()
        if not self.module.kernels:
            raise PtxError(self.line(), "there is no kernel")
        return self.module

    def module_statement(self):
        line = self.line()
        match = HEADER.match(self.text, self.at)
        if match:
            self.header(match[1], match[2].strip(), line)
            self.at = match.end()
            return
        match = ENTRY.match(self.text, self.at)
        if match:
            self.at = match.end()
            self.kernel(match[1], line)
            return
        text = self.until(";", "a statement of the module")
        text = re.sub(r"^\.extern\s+", "", text)
        self.variable(text, line, self.module.shared)

    def header(self, key, value, line):
        if key == "version":
            if not re.fullmatch(r"[78]\.\d|9\.0", value):
                raise PtxError(line, f"PTX version {value} is not known")
            self.module.version = value
        elif key == "target":
            if not re.fullmatch(r"sm_\d+a?", value):
                raise PtxError(line, f"target '{value}' is not known")
            self.module.target = value
        elif value != "64":
            raise PtxError(line, "addresses have 64 bits")

    def variable(self, text, line, shared):
        match = VARIABLE.match(text)
        if not match:
            raise PtxError(line, f"not understood: '{' '.join(text.split())[:60]}'")
        space, align, kind, name, count = match.groups()
        rest = text[match.end():].strip()
        bytes_ = width_of(kind, line) // 8
        if count is not None:
            bytes_ *= number(count or "0", line, 1 << 28)
        item = (name, number(align or str(width_of(kind, line) // 8), line, 1024), bytes_)
        if item[1] == 0 or item[1] & (item[1] - 1):
            raise PtxError(line, f"an alignment of {item[1]}")
        if space == "shared" and not rest:
            shared.append(item)
        else:
            raise PtxError(line, f"not understood: a variable in .{space} here")

    # ------------------------------------------------------------------ kernels

    def kernel(self, name, line):
        if name in [k.name for k in self.module.kernels]:
            raise PtxError(line, f"kernel '{name}' stands here twice")
        kernel = Kernel(name, line)
        for text in self.until(")", "a list of parameters").split(","):
            if text.strip():
                self.parameter(kernel, text.strip(), line)
        directives = self.until("{", "a kernel")
        for match in re.finditer(r"\S[^\n]*", directives):
            words = match[0].split(None, 1)
            if words[0] in (".maxntid", ".reqntid"):
                sizes = [number(w.strip(), line, 1024) for w in words[1].split(",")]
                kernel.most_threads = sizes[0] * (sizes + [1, 1])[1] * (sizes + [1, 1])[2]
            elif words[0] not in (".minnctapersm", ".maxnreg"):
                raise PtxError(line, f"not understood: '{match[0]}'")
        self.body(kernel)
        self.module.kernels.append(kernel)

    def parameter(self, kernel, text, line):
        match = PARAMETER.fullmatch(text)
        if not match:
            raise PtxError(line, f"not understood: parameter '{text}'")
        align, kind, name, count = match.groups()
        width = width_of(kind, line) // 8
        bytes_ = width * number(count or "1", line, 4096)
        align = number(align or str(width), line, 1024)
        if align == 0 or name in kernel.parameters:
            raise PtxError(line, f"parameter '{name}' cannot be")
        at = (kernel.parameter_bytes + align - 1) // align * align
        kernel.parameters[name] = (at, bytes_)
        kernel.parameter_bytes = at + bytes_

    def body(self, kernel):
        scopes, count = [Scope(None, 0)], 0
        while scopes:
            self.skip()
            if self.at >= len(self.text):
                raise PtxError(kernel.line, f"kernel '{kernel.name}' has no end")
            c = self.text[self.at]
            if c == "{":
                count += 1
                scopes.append(Scope(scopes[-1], count))
                self.at += 1
            elif c == "}":
                scopes.pop()
                self.at += 1
            else:
                self.statement(kernel, scopes[-1])

    def statement(self, kernel, scope):
        line = self.line()
        match = re.compile(rf"({NAME}):(?!:)").match(self.text, self.at)
        if match:
            name = f"L{scope.number}_" + re.sub(r"\W", "_", match[1])
            if match[1] in scope.labels:
                raise PtxError(line, f"label '{match[1]}' stands here twice")
            scope.labels[match[1]] = name
            kernel.body.append(name)
            self.at = match.end()
            return
        text = self.until(";", "a statement").strip()
        if text.startswith("."):
            self.declaration(kernel, scope, text, line)
            return
        guard = None
        match = re.match(rf"@(!?)({NAME})\s+", text)
        if match:
            guard, text = (match[2], bool(match[1])), text[match.end():]
        words = text.split(None, 1)
        if not words or not re.fullmatch(r"[a-z][\w.:]*", words[0]):
            raise PtxError(line, f"not understood: '{text[:60]}'")
        operands = split_operands(words[1] if len(words) > 1 else "", line)
        kernel.body.append(Instruction(line, guard, words[0], operands, scope))

    def declaration(self, kernel, scope, text, line):
        if text.startswith(".pragma"):
            return
        match = REGISTERS.fullmatch(text)
        if not match:
            item_of = kernel.local if text.startswith(".local") else kernel.shared
            self.variable(re.sub(r"^\.local", ".shared", text), line, item_of)
            return
        width_of(match[1], line)
        for word in match[2].split(","):
            many = re.fullmatch(rf"({NAME})<(\d+)>", word.strip())
            if many:
                n = number(many[2], line, MOST_REGISTERS)
                names = [f"{many[1]}{i}" for i in range(n)]
            elif re.fullmatch(NAME, word.strip()):
                names = [word.strip()]
            else:
                raise PtxError(line, f"not understood: register '{word.strip()}'")
            for name in names:
                if name in scope.registers:
                    raise PtxError(line, f"register '{name}' stands here twice")
                c_name = f"r{scope.number}_" + name.replace("%", "p_").replace("$", "d_")
                scope.registers[name] = (c_name, match[1])
                kernel.registers.append((c_name, match[1]))


def read(text):
    return Reader(text).read()
