/* train_signals.c: signals that end a run in good order: SIGTERM, SIGHUP and SIGINT, of which last a
 * second one kills at once. */
#include "train/train_internal.h"

volatile sig_atomic_t train_signal;

static void on_signal(int number)
{
    train_signal = number;
}

const char *train_signal_name(int number)
{
    if (number == TRAIN_SIGNAL_LAUNCHER) return "the launcher";
    return number == SIGINT ? "SIGINT" : number == SIGHUP ? "SIGHUP" : "SIGTERM";
}

/* Since train_signals_expect; what came since then is the run's. */
static bool expected;

void train_signals_expect(void)
{
    static const int numbers[] = {SIGTERM, SIGHUP, SIGINT};
    struct sigaction now;
    expected = true;
    train_signal = 0;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            signal_catch(numbers[i], on_signal, SA_RESTART | (int)SA_RESETHAND, NULL);
}

void train_signals_install(struct train_handlers *old)
{
    if (!expected) train_signal = 0;
    expected = false;
    signal_catch(SIGTERM, on_signal, SA_RESTART, &old->term);
    sigaction(SIGHUP, NULL, &old->hangup);
    if (old->hangup.sa_handler != SIG_IGN) /* nohup's wish stands */
        signal_catch(SIGHUP, on_signal, SA_RESTART, NULL);
    signal_catch(SIGINT, on_signal, SA_RESTART | (int)SA_RESETHAND, &old->interrupt);
}

void train_signals_restore(const struct train_handlers *old)
{
    sigaction(SIGTERM, &old->term, NULL);
    sigaction(SIGHUP, &old->hangup, NULL);
    sigaction(SIGINT, &old->interrupt, NULL);
}
