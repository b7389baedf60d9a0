"""c_source: reads a C file of this tree well enough to say what it includes, defines, declares and
uses. For tools/check-layers and tools/check-banned.

It is no compiler. It relies on what .clang-format and the warnings enforce: braces balance in every
branch of an #if, one declaration a statement, macros are written in capitals. Macro arguments are
not expanded: a name that only ## puts together is not seen. tests/system/test_tools.sh compares the
result with the symbol tables of the compiled objects."""
import bisect
import re

SKIP = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.M | re.S)
DEFINE = re.compile(r"[ \t]*#\s*define\s+(\w+)(?:\([^)]*\))?")
INCLUDE = re.compile(r'^[ \t]*#\s*include\b[ \t]*(.*?)[ \t]*$', re.M)
# A call-like group in front of or behind a declarator that is no part of it.
DECORATION = re.compile(r"\b(?:__attribute__|_Static_assert|[A-Z][A-Z0-9_]*)\s*"
                        r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)")
# A name that is neither a member (after . or ->) nor a tag (after struct, union, enum) nor a label.
NAME = re.compile(r"(\.\s*|->\s*)?\b((?:struct|union|enum|goto)\s+)?([A-Za-z_]\w*)")
TAGGED = re.compile(r"^\s*(?:(?:const|volatile|static|extern)\s+)*"
                    r"(?:struct|union|enum)\b[^{;=(]*{}")


def blanked(text):
    """The same text, as long and with the same lines, of nothing but blanks."""
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    return SKIP.sub(lambda m: blanked(m[0]) if m[0][0] == "/" else m[0], text)


def without_comments_and_strings(text):
    return SKIP.sub(lambda m: blanked(m[0]), text)


def only_comments(text):
    """What the two above leave out: every comment where it stands, the rest blanks."""
    kept, end = [], 0
    for match in SKIP.finditer(text):
        kept.append(blanked(text[end:match.start()]))
        kept.append(match[0] if match[0][0] == "/" else blanked(match[0]))
        end = match.end()
    return "".join(kept) + blanked(text[end:])


def split_outside(text, separator):
    """Parts of a text between separators that lie in no bracket."""
    parts, depth, begin = [], 0, 0
    for at, char in enumerate(text):
        depth += char in "([{"
        depth -= char in ")]}"
        if char == separator and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
    return parts + [text[begin:]]


class Function:
    """A function's definition: name, whether it is static, line, and names of its parameters."""

    def __init__(self, name, static, line, parameters):
        self.name, self.static, self.line, self.parameters = name, static, line, parameters


class Source:
    """One file: `lines`; `includes` [(line, what follows the word include)]; `functions`; what has
    external linkage, `defined` {name: line} and `declared` {name: line}; `own`, the names that are
    static here; `uses` {name: line of the first}; `aliases` {macro: the one name it stands for};
    `trouble`, why it could not be read, or None. static_words are macros that begin with static."""

    def __init__(self, text, is_header, static_words=()):
        self.is_header = is_header
        self.static = re.compile(rf"\b({'|'.join(['static', 'inline', *static_words])})\b")
        self.lines = text.split("\n")
        self.functions, self.defined, self.declared, self.aliases = [], {}, {}, {}
        self.own, self.uses, self.trouble = set(), {}, None
        self.breaks = [m.start() for m in re.finditer("\n", text)]
        self.includes = [(self.line(m.start()), m[1])
                         for m in INCLUDE.finditer(without_comments(text))]
        self.code = DIRECTIVE.sub(self.read_directive, without_comments_and_strings(text))
        self.read_items()

    def line(self, at):
        return bisect.bisect_left(self.breaks, at) + 1

    def read_directive(self, match):
        define = DEFINE.match(match[0])
        if define:
            body = match[0][define.end():]
            self.add_uses(body, match.start() + define.end())
            if re.fullmatch(r"\s*[A-Za-z_]\w*\s*", body):
                self.aliases[define[1]] = body.strip()
        return blanked(match[0])

    def add_uses(self, text, at, hidden=()):
        for match in NAME.finditer(text):
            if not match[1] and not match[2] and match[3] not in hidden:
                self.uses.setdefault(match[3], self.line(at + match.start(3)))

    def read_items(self):
        """An item of the file is what ends with a semicolon or a function's body."""
        begin = depth = 0
        body = None  # where the function's body began
        for match in re.finditer(r"[{};]", self.code):
            at, char = match.start(), match[0]
            if char == "{":
                if depth == 0 and self.is_function(self.code[begin:at]):
                    body = at
                depth += 1
            elif char == "}":
                depth -= 1
                if depth == 0 and body is not None:
                    self.read_function(begin, body, at)
                    begin, body = at + 1, None
            elif depth == 0:
                self.read_declaration(begin, at)
                begin = at + 1
            if depth < 0:
                break
        if depth or (self.code[begin:].strip() and not self.is_header):
            self.trouble = "braces do not balance, or a semicolon is missing at the end"
        self.add_uses(self.code[begin:], begin)  # a header may be a piece of an initialiser

    @staticmethod
    def is_function(head):
        head = DECORATION.sub(lambda m: blanked(m[0]), head)
        return head.rstrip().endswith(")") and "=" not in head

    def read_function(self, begin, body, end):
        head = DECORATION.sub(lambda m: blanked(m[0]), self.code[begin:body])
        match = re.search(r"\b([A-Za-z_]\w*)\s*\(", head)
        if not match:
            self.trouble = f"line {self.line(body)}: a body without a function's name"
            return
        depth, close = 0, match.end() - 1  # the bracket that ends the list of parameters
        for close in range(match.end() - 1, len(head)):
            depth += (head[close] == "(") - (head[close] == ")")
            if depth == 0:
                break
        parameters = []
        for part in split_outside(head[match.end():close], ","):
            pointer = re.search(r"\(\s*\*\s*(\w+)", part)
            words = re.findall(r"[A-Za-z_]\w*", re.sub(r"\[.*", "", part, flags=re.S))
            if words and words != ["void"]:
                parameters.append(pointer[1] if pointer else words[-1])
        static = bool(self.static.search(head[:match.start()]))
        line = self.line(begin + match.start(1))
        self.functions.append(Function(match[1], static, line, parameters))
        if static:
            self.own.add(match[1])
        else:
            self.defined[match[1]] = line
        self.add_uses(self.code[body:end], body, set(parameters))

    def read_declaration(self, begin, end):
        text = self.code[begin:end]
        head = DECORATION.sub(lambda m: blanked(m[0]), text)
        first = re.search(r"\S", head)
        if not first or re.match(r"\s*typedef\b", head):
            return
        equal = head.find("=")
        if equal >= 0:
            self.add_uses(text[equal:], begin + equal)
        # Braces to one pair, so that struct x { ... } y = { ... } reads as struct x {} y = {}.
        flat, depth = [], 0
        for char in head:
            depth -= char == "}"
            if depth == 0:
                flat.append(char)
            depth += char == "{"
        flat = "".join(flat)
        line = self.line(begin + first.start())
        static = bool(self.static.search(flat))
        tagged = TAGGED.match(flat)
        names = flat[tagged.end():] if tagged else flat
        declarator = names.split("=")[0]
        pointer = re.match(r"[^(]*\(\s*\*[\s*]*(?:const\s+)?(\w+)", declarator)
        function = re.search(r"\b([A-Za-z_]\w*)\s*\(", declarator)
        if function and not pointer:  # a prototype
            if static:
                self.own.add(function[1])
            else:
                self.declared[function[1]] = line
            return
        if pointer:
            found = [pointer[1]]
        elif not tagged and re.fullmatch(r"\s*(struct|union|enum)\s+\w+\s*", names):
            return  # struct x;
        else:
            found = []
            for part in split_outside(names, ","):
                found += re.findall(r"[A-Za-z_]\w*", re.split(r"[\[=]", part)[0])[-1:]
        for name in found:
            if static:
                self.own.add(name)
            elif equal < 0 and (self.is_header or re.match(r"\s*extern\b", flat)):
                self.declared[name] = line
            else:
                self.defined[name] = line
