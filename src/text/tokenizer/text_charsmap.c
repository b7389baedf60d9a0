/* text_charsmap.c: SentencePiece's character map (nmt_nfkc and the like, "precompiled_charsmap"):
 * strings of characters and what each becomes.
 *
 *   uint32           bytes of the trie
 *   uint32 [n]       a double array, as Darts writes it
 *   strings          the replacements, each ended by a zero byte
 *
 * A unit of the double array holds, from the lowest bit: its label in 8 bits (a byte) with bit 31
 * clear, or, with bit 31 set, the value of a key that ends; bit 8: a key ends here; bit 9: the
 * offset is in units of 256; from bit 10 on the offset, which is XORed with the place to give the
 * place of the children. The file may be made to harm: every place is checked against the size, and
 * a walk takes one step for a byte of text. */
#include <utf8proc.h>

#include "text/tokenizer/text_tokenizer_internal.h"

void charsmap_fini(struct charsmap *m)
{
    mem_free(m->units);
    str_fini(&m->strings);
    *m = (struct charsmap){0};
}

int charsmap_load(struct charsmap *m, const void *data, size_t size, struct error *e)
{
    if (size < 4) return error_set(e, "the character map is truncated");
    size_t trie = bytes_load32(data), n = trie / 4;
    if (trie > size - 4 || trie % 4 || !n)
        return error_set(e, "the character map's trie does not fit into it");
    m->units = mem_alloc(trie);
    memcpy(m->units, (const char *)data + 4, trie);
    m->n_units = n;
    str_append(&m->strings, (const char *)data + 4 + trie, size - 4 - trie);
    if (!m->strings.len || m->strings.data[m->strings.len - 1])
        return error_set(e, "the character map's last string has no end");
    for (size_t at = 0; at < m->strings.len; at += strlen(m->strings.data + at) + 1) {
        size_t n_bytes = strlen(m->strings.data + at);
        if (utf8_valid_size(m->strings.data + at, n_bytes) != n_bytes)
            return error_set(e, "the character map holds a string that is not UTF-8");
    }
    return 0;
}

static uint32_t unit_offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

size_t charsmap_match(const struct charsmap *m, const char *text, size_t size, bool shortest,
                      const char **to)
{
    size_t found = 0;
    if (!m->n_units) return 0;
    size_t at = unit_offset(m->units[0]);
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)text[i];
        at ^= byte;
        if (!byte || at >= m->n_units || (m->units[at] & 0x800000ffu) != byte) break;
        uint32_t unit = m->units[at];
        at ^= unit_offset(unit);
        if (!(unit >> 8 & 1)) continue;
        size_t value = at < m->n_units ? m->units[at] & 0x7fffffffu : SIZE_MAX;
        if (value >= m->strings.len) break;
        *to = m->strings.data + value;
        found = i + 1;
        if (shortest) break;
    }
    return found;
}

/* ------------------------------------------------------------------ as Hugging Face applies it */

/* A cluster of up to 5 bytes is looked up as a whole, and becomes what its shortest prefix in the
 * map becomes; otherwise its characters are looked up one by one. */
static void apply_cluster(const struct charsmap *m, const char *text, size_t size, struct str *out)
{
    const char *to;
    if (size < 6 && charsmap_match(m, text, size, true, &to)) {
        str_puts(out, to);
        return;
    }
    for (size_t at = 0, n; at < size; at += n) {
        n = MAX(utf8_decode(text + at, size - at, NULL), 1);
        if (charsmap_match(m, text + at, n, true, &to))
            str_puts(out, to);
        else
            str_append(out, text + at, n);
    }
}

void charsmap_apply_graphemes(const struct charsmap *m, const char *text, size_t size,
                              struct str *out)
{
    utf8proc_int32_t state = 0;
    size_t start = 0;
    uint32_t before = 0, cp;
    bool first = true;
    for (size_t at = 0, n; at < size; at += MAX(n, 1)) {
        n = utf8_decode(text + at, size - at, &cp);
        if (!n) cp = 0xfffd;
        if (!first && utf8proc_grapheme_break_stateful((utf8proc_int32_t)before,
                                                       (utf8proc_int32_t)cp, &state)) {
            apply_cluster(m, text + start, at - start, out);
            start = at;
        }
        before = cp;
        first = false;
    }
    if (size > start) apply_cluster(m, text + start, size - start, out);
}
