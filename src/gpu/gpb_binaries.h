//  gpb_binaries - compiled binaries in memory, shared by all devices of this process
//
//  What one device's thread has compiled, or read from the cache's folder, another one loads: a
//  second device of the same kind, the second round of a registration, another node in the same
//  process, and all of them whether there is a folder that works or not. A kernel that several ask
//  for at the same time is compiled by the first; the others wait for what comes of it, which is
//  never longer than compiling it themselves would take.
//
//  Actors share nothing else that they write to but what doc/architecture.md lists, since they talk
//  by messages. This is shared because nobody else could own it: devices of two nodes know no
//  common actor that they could ask, and seconds of compiling are what is saved. Its rule is one
//  mutex, held for a look at a list and never while anything is compiled, loaded, read or written.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_BINARIES_H_INCLUDED
#define GPB_BINARIES_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GPB_BINARIES_KEY_SIZE 32    //  a SHA-256

//  Bytes that the process keeps: a node has some dozens of kernels, with binaries of 10 KiB to 1
//  MiB, so this holds them all, and is little beside what a driver takes.
#define GPB_BINARIES_MAX_SIZE (UINT64_C (64) * 1024 * 1024)

typedef struct _gpb_binaries_t gpb_binaries_t;

//  Counted by references; what it points to never changes.
typedef struct {
    const void *data;
    size_t size;
} gpb_binary_t;

typedef enum {
    GPB_BINARIES_FOUND,      //  here it is
    GPB_BINARIES_BUILD,      //  nobody has it: the caller builds it, and then says what came of it
    GPB_BINARIES_ALONE,      //  the caller builds it for itself, and has nothing to say
    GPB_BINARIES_REFUSED,    //  the thread that was waited for was refused by the compiler
} gpb_binaries_outcome_t;

//  The process's own; NULL where memory runs out. The library holds a reference of its own until it
//  is unloaded, so that a node that is stopped and started again finds what it had. Any thread.
gpb_binaries_t *gpb_binaries_of_process (void);

//  Has the library let go of the process's own: it goes with its last user, and who asks next gets
//  an empty one. The library's end, and tests that stand for the next process. Any thread.
void gpb_binaries_forget (void);

//  One that keeps max_size bytes, those used last. NULL where memory runs out.
gpb_binaries_t *gpb_binaries_new (uint64_t max_size);

//  Lets go of a reference. Any thread; nobody waits in gpb_binaries_acquire by this reference.
void gpb_binaries_release (gpb_binaries_t **self_p);

//  Looks a key up, and waits while another thread builds it. FOUND: *binary_p is a reference of the
//  caller's. REFUSED: *error is what the compiler said to the other thread; the same text gives the
//  same answer, so nobody who waited tries again, but it is not kept for who comes later: that
//  would be a register_kernel that asks anew. BUILD: one of the three below must follow. Any
//  thread; one key at a time for each thread.
gpb_binaries_outcome_t gpb_binaries_acquire (gpb_binaries_t *self, const unsigned char *key,
                                             gpb_binary_t **binary_p, gpb_error_t *error);

//  Takes a binary in, in the place of what is there under the key, and gives it to those who wait.
//  NULL: the backend gives no binaries; those who wait build for themselves, all at once.
void gpb_binaries_publish (gpb_binaries_t *self, const unsigned char *key, gpb_binary_t *binary);

//  The compiler refused the text: those who wait get the same error.
void gpb_binaries_refuse (gpb_binaries_t *self, const unsigned char *key, const gpb_error_t *error);

//  It failed for a reason of this thread's alone (memory, a device that is lost): one of those who
//  wait builds in its place, and the others go on waiting, now for that one.
void gpb_binaries_give_up (gpb_binaries_t *self, const unsigned char *key);

//  How many threads wait now. Any thread.
unsigned gpb_binaries_waiting (gpb_binaries_t *self);

//  A binary over memory of gpb_alloc, which is taken (*data_p is NULL then). NULL where memory runs
//  out: *data_p stays the caller's.
gpb_binary_t *gpb_binary_new (void **data_p, size_t size);

void gpb_binary_release (gpb_binary_t **binary_p);

#endif
