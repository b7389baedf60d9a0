/* feed_policy.c: how long to wait before a connection is tried again. */
#include "feed/follow/feed_follow_internal.h"

static double doubled(double first, double max, int n)
{
    double s = first;
    for (int i = 1; i < n && s < max; i++)
        s *= 2;
    return MIN(s, max);
}

double feed_policy_delay(const struct feed_policy *p, enum feed_end end, int n)
{
    if (n < 1) return 0;
    switch (end) {
    case FEED_END_STOPPED:
    case FEED_END_REFUSED: return 0;
    case FEED_END_CLOSED: /* at once, then as if it could not be made */
    case FEED_END_SILENT: return n == 1 ? 0 : feed_policy_delay(p, FEED_END_TCP, n - 1);
    case FEED_END_TCP:
        if (p->tcp_step_s <= 0) return doubled(p->tcp_first_s, p->tcp_max_s, n);
        return MIN(p->tcp_first_s + p->tcp_step_s * (n - 1), p->tcp_max_s);
    case FEED_END_HTTP: return doubled(p->http_first_s, p->http_max_s, n);
    case FEED_END_RATE: return doubled(p->rate_first_s, p->rate_max_s, n);
    }
    return 0;
}
