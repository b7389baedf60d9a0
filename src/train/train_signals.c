/* train_signals.c: signals that end a run in good order: SIGTERM, SIGHUP and SIGINT, of which a second
 * one kills at once. */
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

void train_signals_install(struct train_handlers *old)
{
    train_signal = 0;
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
