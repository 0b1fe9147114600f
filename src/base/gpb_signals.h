//  gpb_signals - an actor's thread takes none of the application's signals
//
//  A signal whose handler runs on an actor's thread interrupts whatever it waits for, and CZMQ
//  takes an interrupted wait for the end: a node that is composed into an application with a timer
//  or with children would stop of its own. libzmq does the same for its threads.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_SIGNALS_H_INCLUDED
#define GPB_SIGNALS_H_INCLUDED

#include <signal.h>

//  The first thing that an actor's thread does; threads that it starts inherit it. What a fault of
//  the thread itself raises stays as it is, so that whoever looks after crashes sees them.
static inline void
gpb_signals_block (void)
{
    sigset_t signals;
    sigfillset (&signals);
    sigdelset (&signals, SIGSEGV);
    sigdelset (&signals, SIGBUS);
    sigdelset (&signals, SIGFPE);
    sigdelset (&signals, SIGILL);
    sigdelset (&signals, SIGABRT);
    sigdelset (&signals, SIGTRAP);
    pthread_sigmask (SIG_BLOCK, &signals, NULL);
}

#endif
