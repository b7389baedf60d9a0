/* text_corpus_kind.c: what a file holds, by its first bytes.
 *
 * Packed tables, archives, images, programs and text in 16 or 32 bits would all pass for "text" to a
 * reader of bytes, and a model would learn their headers. So each is known by its magic number (those
 * of the formats' own specifications) and refused with the way to make text of it; of a magic that
 * could begin a text too, the bytes behind it must be none. What has a NUL byte, or very many control
 * characters, is binary whatever it is.
 *
 * JSON has no magic number. Objects are told by the name, by a first object that parses, or by a second
 * one behind it: a first record that is bad makes no text of the others. */
#include "text/corpus/text_corpus_internal.h"

#include <strings.h>

static const char UNPACK[] = "unpack it first, or pipe what it holds into '-'";
static const char TABLE[] = "write its text as JSON lines, for example in Python: "
                            "pandas.read_parquet(FILE).to_json(OUT, orient='records', lines=True)";
static const char MEMBERS[] = "unpack it into a folder and name that";
static const char NO_TEXT[] = "leave it out; --format text would take its bytes as text";
static const char RECODE[] = "convert it: iconv -f UTF-16 -t UTF-8 FILE >OUT (or -f UTF-32)";
static const char EXTRACT[] = "extract its text first, for example with pdftotext or pandoc";

/* A magic number of `size` bytes at `offset`. binary: what follows must not be text. */
struct magic {
    const char *name, *cure, *bytes;
    uint16_t size, offset;
    bool binary;
};

/* clang-format off */
#define AT(offset, bytes, name, cure) {name, cure, bytes, sizeof(bytes) - 1, offset, false}
#define BINARY_AT(offset, bytes, name, cure) {name, cure, bytes, sizeof(bytes) - 1, offset, true}
#define BINARY(bytes, name, cure) BINARY_AT(0, bytes, name, cure)
/* In this order: UTF-32's mark begins as UTF-16's, and some arrays as MPEG audio. */
static const struct magic MAGICS[] = {
    AT(0, "\xfd" "7zXZ\0", "xz data", UNPACK),
    BINARY("\x5d\0\0", "LZMA data", UNPACK),
    BINARY("BZh", "bzip2 data", UNPACK),
    AT(0, "\x04\x22\x4d\x18", "lz4 data", UNPACK),
    AT(0, "\x02\x21\x4c\x18", "lz4 data", UNPACK),
    AT(0, "LZIP\x01", "lzip data", UNPACK),
    AT(0, "\x89LZO\0\r\n\x1a\n", "lzop data", UNPACK),
    AT(0, "\xff\x06\0\0sNaPpY", "snappy data", UNPACK),
    AT(0, "\x1f\x9d", "compress (.Z) data", UNPACK),
    AT(0, "\x1f\xa0", "compress (.Z) data", UNPACK),
    BINARY("\x78\x01", "zlib data", UNPACK),
    BINARY("\x78\x9c", "zlib data", UNPACK),
    BINARY("\x78\xda", "zlib data", UNPACK),
    BINARY("PAR1", "a Parquet table", TABLE),
    BINARY("PARE", "an encrypted Parquet table", TABLE),
    AT(0, "ARROW1\0\0", "an Arrow (Feather) table", TABLE),
    BINARY("FEA1", "a Feather table", TABLE),
    AT(0, "\xff\xff\xff\xff", "an Arrow stream", TABLE),
    BINARY("ORC", "an ORC table", TABLE),
    AT(0, "Obj\x01", "an Avro file", TABLE),
    AT(0, "SQLite format 3\0", "an SQLite database", TABLE),
    AT(0, "\x89HDF\r\n\x1a\n", "an HDF5 file", TABLE),
    AT(0, "\x93NUMPY", "a NumPy array", TABLE),
    AT(0, "PK\x03\x04", "a zip archive (or .docx, .xlsx, .epub, .npz, .pt)", MEMBERS),
    AT(0, "PK\x05\x06", "an empty zip archive", MEMBERS),
    AT(0, "PK\x07\x08", "a zip archive", MEMBERS),
    AT(0, "7z\xbc\xaf\x27\x1c", "a 7z archive", MEMBERS),
    AT(0, "Rar!\x1a\x07", "a RAR archive", MEMBERS),
    BINARY("MSCF", "a cabinet archive", MEMBERS),
    AT(0, "!<arch>\n", "an ar archive (or .deb)", MEMBERS),
    AT(0, "\xed\xab\xee\xdb", "an RPM package", MEMBERS),
    BINARY("070701", "a cpio archive", MEMBERS),
    AT(0, "%PDF-", "a PDF document", EXTRACT),
    AT(0, "{\\rtf", "an RTF document", EXTRACT),
    AT(0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document", EXTRACT),
    AT(0, "AT&TFORM", "a DjVu document", EXTRACT),
    AT(0, "\x89PNG", "a PNG image", NO_TEXT),
    AT(0, "\xff\xd8\xff", "a JPEG image", NO_TEXT),
    BINARY("GIF8", "a GIF image", NO_TEXT),
    BINARY("BM", "a BMP image", NO_TEXT),
    AT(0, "II*\0", "a TIFF image", NO_TEXT),
    AT(0, "MM\0*", "a TIFF image", NO_TEXT),
    BINARY_AT(8, "WEBP", "a WebP image", NO_TEXT),
    AT(0, "\0\0\x01\0", "an icon", NO_TEXT),
    AT(0, "\0\0\0\x0cJXL ", "a JPEG XL image", NO_TEXT),
    BINARY("8BPS", "a Photoshop image", NO_TEXT),
    BINARY_AT(8, "WAVE", "a WAV sound", NO_TEXT),
    BINARY_AT(8, "AVI ", "an AVI film", NO_TEXT),
    BINARY_AT(4, "ftyp", "an MP4 film or HEIC image", NO_TEXT),
    AT(0, "\x1a\x45\xdf\xa3", "a Matroska film", NO_TEXT),
    BINARY("OggS", "an Ogg sound", NO_TEXT),
    BINARY("fLaC", "a FLAC sound", NO_TEXT),
    BINARY("ID3", "an MP3 sound", NO_TEXT),
    AT(0, "\x7f" "ELF", "an ELF program", NO_TEXT),
    BINARY("MZ", "a Windows program", NO_TEXT),
    AT(0, "\xcf\xfa\xed\xfe", "a Mach-O program", NO_TEXT),
    AT(0, "\xfe\xed\xfa\xcf", "a Mach-O program", NO_TEXT),
    AT(0, "\xca\xfe\xba\xbe", "a Java class or Mach-O program", NO_TEXT),
    AT(0, "\0asm", "a WebAssembly program", NO_TEXT),
    BINARY("wOF", "a font", NO_TEXT),
    AT(0, "\0\x01\0\0\0", "a font", NO_TEXT),
    BINARY("OTTO", "a font", NO_TEXT),
    BINARY("GGUF", "a GGUF model", NO_TEXT),
    BINARY(SHARD_MAGIC, "a shard of a token dataset", NO_TEXT),
    AT(0, "version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file itself",
       "fetch the file: git lfs pull"),
    AT(0, "\xff\xfe\0\0", "text in UTF-32", RECODE),
    AT(0, "\0\0\xfe\xff", "text in UTF-32", RECODE),
    AT(0, "\xff\xfe", "text in UTF-16", RECODE),
    AT(0, "\xfe\xff", "text in UTF-16", RECODE),
};
/* clang-format on */

static bool is_control(uint8_t c)
{
    return c < 0x20 && !byte_is_space((char)c) && c != '\b' && c != 0x1b;
}

/* Bytes that no text has: more than an accident of them. */
static bool looks_binary(const uint8_t *p, size_t n)
{
    size_t control = 0, valid = utf8_valid_size((const char *)p, n);
    for (size_t i = 0; i < n; i++)
        control += is_control(p[i]);
    return memchr(p, '\0', n) || control > n / 16 || (valid + 4 < n && control > n / 64);
}

static const struct magic *find_magic(const struct corpus_head *h)
{
    const uint8_t *p = (const uint8_t *)h->bytes;
    for (size_t i = 0; i < ARRAY_LEN(MAGICS); i++) {
        const struct magic *m = &MAGICS[i];
        size_t end = (size_t)m->offset + m->size;
        if (h->size < end || memcmp(p + m->offset, m->bytes, m->size) != 0) continue;
        if (!m->binary || h->size == end || looks_binary(p + end, MIN(h->size - end, (size_t)4096)))
            return m;
    }
    return NULL;
}

/* A tar archive by the checksum of its first header (POSIX ustar): the sum of 512 bytes, with the
 * field itself as spaces. */
static bool is_tar(const struct corpus_head *h)
{
    enum { FIELD = 148, FIELD_SIZE = 8, HEADER = 512 };
    const uint8_t *p = (const uint8_t *)h->bytes;
    uint64_t sum = 0, want = 0;
    size_t i = FIELD;
    if (h->size < HEADER || !p[0]) return false;
    for (size_t k = 0; k < HEADER; k++)
        sum += k >= FIELD && k < FIELD + FIELD_SIZE ? ' ' : p[k];
    while (i < FIELD + FIELD_SIZE && p[i] == ' ')
        i++;
    for (; i < FIELD + FIELD_SIZE && p[i] >= '0' && p[i] <= '7'; i++)
        want = want * 8 + (p[i] - '0');
    return want > 0 && want == sum;
}

/* UTF-16 or UTF-32 without a mark: of Western text every other byte, or three of four, is zero. */
static bool is_wide(const struct corpus_head *h)
{
    size_t n = MIN(h->size, (size_t)4096) / 4 * 4, zeros[4] = {0};
    for (size_t i = 0; i < n; i++)
        zeros[i % 4] += h->bytes[i] == '\0';
    size_t even = zeros[0] + zeros[2], odd = zeros[1] + zeros[3];
    bool two = (even > n * 3 / 8 && odd <= n / 64) || (odd > n * 3 / 8 && even <= n / 64);
    bool four = zeros[1] > n / 5 && zeros[2] > n / 5 && (zeros[0] > n / 5) != (zeros[3] > n / 5);
    return n >= 8 && (two || four);
}

/* Pickles of protocols 2 to 5 begin with the protocol and end with '.'. */
static bool is_pickle(const struct corpus_head *h)
{
    const uint8_t *p = (const uint8_t *)h->bytes;
    return h->size > 2 && p[0] == 0x80 && p[1] >= 2 && p[1] <= 5 &&
           (!h->whole || p[h->size - 1] == '.');
}

/* The length of a header in JSON, then the header. */
static bool is_safetensors(const struct corpus_head *h)
{
    return h->size > 9 && h->bytes[8] == '{' && bytes_load64(h->bytes) < 100u << 20 &&
           h->bytes[7] == '\0';
}

static size_t skip_space(const char *p, size_t n, size_t i)
{
    while (i < n && byte_is_space(p[i]))
        i++;
    return i;
}

/* Where the first thing in a file is: behind a byte-order mark and white space. */
static size_t first_place(const struct corpus_head *h)
{
    bool mark = h->size >= 3 && memcmp(h->bytes, "\xef\xbb\xbf", 3) == 0;
    return skip_space(h->bytes, h->size, mark ? 3 : 0);
}

/* An object with a key, alone or in an array. */
static bool begins_as_json(const struct corpus_head *h)
{
    const char *p = h->bytes;
    size_t n = h->size, i = first_place(h);
    if (i < n && p[i] == '[') i = skip_space(p, n, i + 1);
    if (i == n || p[i] != '{') return false;
    i = skip_space(p, n, i + 1);
    return i < n && (p[i] == '"' || p[i] == '}');
}

const char *corpus_kind_find(const struct corpus_head *h, const char **cure)
{
    const uint8_t *p = (const uint8_t *)h->bytes;
    const struct magic *m = find_magic(h);
    if (m) {
        *cure = m->cure;
        return m->name;
    }
    *cure = MEMBERS;
    if (is_tar(h)) return "a tar archive";
    *cure = UNPACK;
    if (h->packed && h->size >= 4 && memcmp(p, "\x1f\x8b\x08", 3) == 0)
        return "gzip data in packed data";
    if (h->packed && h->size >= 4 && memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0)
        return "zstd data in packed data";
    *cure = NO_TEXT;
    if (is_safetensors(h)) return "a safetensors file";
    *cure = TABLE;
    if (is_pickle(h)) return "a Python pickle";
    *cure = RECODE;
    if (is_wide(h)) return "text in UTF-16 or UTF-32 without a byte-order mark";
    *cure = NO_TEXT;
    if (begins_as_json(h)) return NULL; /* what its records hold is their affair, one by one */
    if (memchr(p, '\0', h->size)) return "binary data (it has NUL bytes)";
    if (h->size >= 16 && looks_binary(p, h->size)) return "binary data (it has control characters)";
    return NULL;
}

/* ------------------------------------------------------------------ formats of text */

static bool name_is_json(const char *path)
{
    static const char *const ends[] = {".json", ".jsonl", ".ndjson", ".jsonlines"};
    size_t n = corpus_source_plain_name(path);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (corpus_name_ends(path, n, ends[i])) return true;
    return false;
}

/* Whether a folder of the path is called "fortunes". */
static bool under_fortunes(const char *path)
{
    static const char name[] = "fortunes";
    for (const char *p = path; (p = strstr(p, name)) != NULL; p++) {
        if ((p == path || p[-1] == '/') && p[sizeof(name) - 1] == '/') return true;
    }
    return false;
}

/* strfile(1) writes an index NAME.dat beside a file of fortunes; beside NAME.gz it has that name
 * too. */
static bool has_fortune_index(const char *path)
{
    struct str index = {0};
    str_append(&index, path, corpus_source_plain_name(path));
    str_puts(&index, ".dat");
    bool found = file_exists(index.data);
    str_fini(&index);
    return found;
}

/* What the beginning of a file says of JSON. */
struct json_head {
    bool array;     /* the first object stands in an array */
    bool begins;    /* an object with a key begins */
    bool whole;     /* its end is there */
    bool lines;     /* no line end stands in it, and nothing else on its line */
    bool followed;  /* the file ends behind it, or the next line is an object too */
    bool another;   /* behind it, or where its line ends, another object begins */
    bool valid;     /* it parses */
    bool has_field; /* and has the field as a string */
};

static struct json_head look_for_json(const struct corpus_head *h,
                                      const struct corpus_json_path *field)
{
    struct json_head j = {0};
    struct corpus_json_extent x = {0};
    struct corpus_json_result r;
    struct str scratch = {0};
    const char *p = h->bytes;
    size_t n = h->size, i = first_place(h);
    j.array = i < n && p[i] == '[';
    if (j.array) i = skip_space(p, n, i + 1);
    if (i == n || p[i] != '{') return j;
    size_t key = skip_space(p, n, i + 1), size = corpus_json_extent(&x, p + i, n - i);
    j.begins = key < n && (p[key] == '"' || p[key] == '}');
    j.whole = x.done || x.broken || h->whole;
    j.lines = !memchr(p + i, '\n', size - x.broken);
    for (key = i + size; key < n && strchr(" \t\r", p[key]) && p[key]; key++)
        ;
    j.lines &= key == n || p[key] == '\n' || x.broken;
    key = skip_space(p, n, key);
    j.followed = key < n ? p[key] == '{' || p[key] == '[' : h->whole;
    const char *nl = memchr(p + i, '\n', n - i);
    size_t below = nl ? skip_space(p, n, (size_t)(nl - p)) : n;
    j.another = (key < n && p[key] == '{') || (below < n && p[below] == '{');
    j.valid = corpus_json_find(p + i, size, field, &scratch, &r) != CORPUS_JSON_INVALID;
    j.has_field = j.valid && r.text;
    str_fini(&scratch);
    return j;
}

/* Files with a name that says nothing are JSON where there is no doubt: one object behind another, an
 * array of objects, or an object with the field; any object from a pipe, which has no name, or where
 * records were asked for. */
static bool is_surely_json(const struct corpus_head *h, const struct json_head *j,
                           const struct corpus_json_path *field)
{
    if (j->begins && (j->another || field->asked)) return true;
    return j->valid &&
           (j->has_field || j->array || (j->lines && j->followed) || strcmp(h->path, "-") == 0);
}

/* Whether each object has a line. A first one that does not end says nothing of it: the second does,
 * or the name. */
static bool has_lines(const struct corpus_head *h, const struct json_head *j)
{
    size_t n = corpus_source_plain_name(h->path);
    if (j->array) return false;
    if (!j->begins || j->lines || (!j->valid && j->another)) return true;
    return !j->valid && !corpus_name_ends(h->path, n, ".json");
}

int corpus_format_find(const struct corpus_head *h, const struct corpus_json_path *field,
                       enum corpus_format *format, struct error *e)
{
    struct json_head j = look_for_json(h, field);
    bool named = name_is_json(h->path);
    if (!named && j.begins && !j.whole) {
        error_set(e, "'%s' begins as JSON, with an object of more than %d KiB", h->path,
                  CORPUS_FIRST_BUFFER >> 10);
        return error_hint(e, "say what it is: --format jsonl, json or text");
    }
    if (named || is_surely_json(h, &j, field))
        *format = has_lines(h, &j) ? CORPUS_JSONL : CORPUS_JSON;
    else if (has_fortune_index(h->path) || under_fortunes(h->path))
        *format = CORPUS_FORTUNE;
    else
        *format = CORPUS_TEXT;
    return 0;
}
