/* text_pretoken_table.c: which characters are letters, numbers and white space, for the scanners.
 *
 * One byte a character, filled from the sets of src/text/unicode/ at the first call, so that the
 * scanners look a character up in one step. */
#include "text/tokenizer/text_tokenizer_internal.h"

#include <pthread.h>

static uint8_t classes[PRETOKEN_CLASS_POINTS];

static void fill(const char *property, enum pretoken_class class)
{
    struct unicode_set s = {0};
    CHECK(unicode_set_add_property(&s, property, strlen(property)));
    for (size_t i = 0; i < s.count; i++) {
        CHECK(s.ranges[i].last < PRETOKEN_CLASS_POINTS);
        memset(classes + s.ranges[i].first, class, s.ranges[i].last - s.ranges[i].first + 1);
    }
    unicode_set_fini(&s);
}

static void fill_all(void)
{
    fill("L", PRETOKEN_LETTER);
    fill("N", PRETOKEN_NUMBER);
    fill("White_Space", PRETOKEN_SPACE);
}

const uint8_t *pretoken_classes(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_all);
    return classes;
}
