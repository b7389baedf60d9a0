/* fuzz_feed_answer.c: any text as what a model wrote, held against any text as a post (the parts are
 * divided by a byte 1). What is kept cites a source that is there and rests on it; what stands in the
 * prompt has no bracket, no control character and no line of its own. */
#include "feed/ask/feed_ask_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_prompt(struct feed_slice text)
{
    struct str out = {0};
    feed_prompt_text(text, 600, &out);
    CHECK(out.len <= 600 + 16 && (out.len == 0 || feed_utf8_valid(out.data, out.len)));
    for (size_t i = 0; i < out.len; i++) {
        unsigned char c = (unsigned char)out.data[i];
        CHECK(c >= 0x20 && c != 0x7f && !strchr("<>[]{}|`", (char)c));
    }
    str_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *middle = size ? memchr(data, 1, size) : NULL;
    if (!middle || memchr(data, 0, size) || !feed_utf8_valid((const char *)data, size)) return 0;
    struct arena a = {0};
    struct feed_source sources[2] = {{.posts = 1}, {.posts = 1}};
    struct feed_reply x = {.question = "what?", .sources = sources, .n_sources = 2};
    char *post = arena_strndup(&a, (const char *)data, (size_t)(middle - data));
    char *text = arena_strndup(&a, (const char *)middle + 1, size - (size_t)(middle + 1 - data));
    char other[] = "Acme Corp raised its dividend by 5 cents, Ann Lee said";
    sources[0].post.text = (struct feed_slice){post, strlen(post)};
    sources[1].post.text = (struct feed_slice){other, strlen(other)};
    feed_check_text(&x, text, &a);
    for (size_t i = 0; i < x.n_sentences; i++) {
        const struct feed_sentence *s = &x.sentences[i];
        CHECK(s->text[0]);
        if (s->dropped) continue;
        CHECK(s->source < 2 && sources[s->source].cited);
        const struct feed_slice said = {(char *)(uintptr_t)s->text, strlen(s->text)};
        CHECK(!feed_check_support(said, &sources[s->source].post));
        CHECK(!feed_gives_orders(said));
    }
    check_prompt(sources[0].post.text);
    check_prompt((struct feed_slice){text, strlen(text)});
    arena_fini(&a);
    return 0;
}
