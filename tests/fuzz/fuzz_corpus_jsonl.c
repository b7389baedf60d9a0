/* fuzz_corpus_jsonl.c: any bytes as a corpus. The first byte chooses format and size of pieces.
 *
 * The scanner of JSON lines is compared with jansson: the same lines are valid, the same string is
 * found. For every format the pieces, put together, are the same documents for any piece size. */
#include "text/corpus/text_corpus_internal.h"

#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char field[] = "user.name";

/* Whether jansson refuses for a reason the scanner has not: limits of numbers and of its keys. */
static bool refused_for_limits(const json_error_t *e)
{
    enum json_error_code code = json_error_code(e);
    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
           code == json_error_stack_overflow;
}

static void check_line(const char *line, size_t size, const struct corpus_json_path *path,
                       struct str *scratch)
{
    struct corpus_json_result r;
    json_error_t je;
    enum corpus_json_verdict v = corpus_json_find(line, size, path, scratch, &r);
    if (memchr(line, '\0', size)) { /* jansson passes over one behind a number */
        CHECK(v == CORPUS_JSON_INVALID);
        return;
    }
    json_t *root = json_loadb(line, size, JSON_ALLOW_NUL, &je);

    if (v == CORPUS_JSON_INVALID) {
        CHECK(r.problem && r.column >= 1 && r.column <= size + 1);
        CHECK_MSG(!root || json_is_array(root) || strstr(r.problem, "nested deeper") ||
                      strstr(r.problem, "twice"),
                  "jansson reads it: %s", r.problem);
    } else {
        CHECK_MSG(root || refused_for_limits(&je), "jansson refuses it: %s", je.text);
    }
    if (root && v != CORPUS_JSON_INVALID) {
        const json_t *value = json_object_get(json_object_get(root, "user"), "name");
        CHECK((v == CORPUS_JSON_MISSING) == (!value || json_is_null(value)));
        CHECK((v == CORPUS_JSON_FOUND) == json_is_string(value));
        if (v == CORPUS_JSON_FOUND)
            CHECK(r.size == json_string_length(value) &&
                  memcmp(r.text, json_string_value(value), r.size) == 0);
    }
    json_decref(root);
}

static void check_lines(const char *data, size_t size)
{
    struct corpus_json_path path;
    struct str scratch = {0};
    const char *end = data + size;

    struct arena arena = {0};
    CHECK(corpus_json_path_parse(field, &arena, &path, NULL) == 0);
    for (const char *p = data; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end;
        check_line(p, (size_t)(stop - p), &path, &scratch);
        p = nl ? nl + 1 : end;
    }
    str_fini(&scratch);
    arena_fini(&arena);
}

/* A file in memory that holds the data; its path, which names no format. */
static const char *memory_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];

    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        CHECK(fd >= 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    return path;
}

/* All documents behind each other, a separator after each; the return value of the last call. */
static int read_documents(const struct corpus_options *o, struct str *out)
{
    struct corpus_document doc;
    struct error e = {0};
    struct corpus *c;
    bool inside = false;
    const char *path = o->paths[0];
    int rc = corpus_open(o, &c, &e);

    if (rc < 0) { /* content that is no text */
        CHECK(o->format == CORPUS_JSONL || o->format == CORPUS_JSON);
        return rc;
    }
    while ((rc = corpus_next(c, &doc, &e)) > 0) {
        CHECK(doc.first == !inside && doc.size <= o->piece_bytes + 2 && doc.line >= 1);
        inside = !doc.last;
        str_append(out, doc.text, doc.size);
        if (doc.last) str_append(out, "\x1e\x1f", 2);
    }
    CHECK(rc < 0 || !inside);
    CHECK_MSG(rc == 0 || (strncmp(e.text, path, strlen(path)) == 0 &&
                          (o->format == CORPUS_JSONL || o->format == CORPUS_JSON)),
              "an error without a place: %s", e.text);
    corpus_close(c);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    const char *path = memory_file(data + 1, size - 1);
    struct corpus_options o = {.paths = &path,
                               .n_paths = 1,
                               .piece_bytes = 16 + (size_t)(data[0] >> 2) % 16 * 7,
                               .format = (enum corpus_format)(CORPUS_TEXT + data[0] % 5),
                               .field = field,
                               .max_line_bytes = data[0] & 64 ? 100 : 0,
                               .skip_missing = data[0] & 128,
                               .skip_bad = data[0] & 32,
                               .quiet = true};
    struct str pieces = {0}, whole = {0};

    if (o.format == CORPUS_JSONL) check_lines((const char *)data + 1, size - 1);
    int rc = read_documents(&o, &pieces);
    o.piece_bytes = 1 << 15;
    CHECK(read_documents(&o, &whole) == rc);
    CHECK(pieces.len == whole.len &&
          (whole.len == 0 || memcmp(pieces.data, whole.data, whole.len) == 0));
    str_fini(&pieces);
    str_fini(&whole);
    return 0;
}
