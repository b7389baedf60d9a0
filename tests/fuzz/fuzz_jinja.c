/* fuzz_jinja.c: any bytes as a chat template, rendered for a conversation. It gives text or an error
 * that names a line, in bounded work; every byte has a mark. */
#include "serve/jinja/serve_jinja_internal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char given_text[] =
        "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":"
        "\"<s> a\\u00e9 "
        "\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{"
        "\"name\":\"f\",\"arguments\":{\"x\":[1,null,2.5]}}}]}],\"tools\":null}";
    static const char trusted_text[] = "{\"bos_token\":\"<s>\",\"add_generation_prompt\":true}";
    struct error e = {0};
    struct arena a = {0};
    struct jinja_text out;
    jinja_t *t;
    if (jinja_parse((const char *)data, size, "input", &t, &e) < 0) {
        CHECK(strncmp(e.text, "input:", 6) == 0);
        return 0;
    }
    json_t *given = json_loads(given_text, 0, NULL), *trusted = json_loads(trusted_text, 0, NULL);
    if (jinja_render(t, trusted, given, &a, &out, &e) < 0)
        CHECK(strncmp(e.text, "input:", 6) == 0);
    else
        for (size_t i = 0; i < out.size; i++)
            CHECK(out.user[i] <= 1);
    json_decref(given);
    json_decref(trusted);
    jinja_free(t);
    arena_fini(&a);
    return 0;
}
