//  gpb_handles - names for what clients own, that nobody can guess and nobody is given twice
//
//  A handle is the device's index in its highest byte (gpb_lease.h) and, below it, a slot of a
//  table and that slot's generation under a keyed permutation of 56 bits. So a look-up is to undo
//  the permutation and to compare one number: no hash table, no allocation. A slot that is used
//  again has another generation, and one that has had all its generations is never used again. The
//  key is random and the table's own: who has seen any number of handles knows nothing of the next.
//
//  One thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_HANDLES_H_INCLUDED
#define GPB_HANDLES_H_INCLUDED

#include "gpb_error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct _gpb_handles_t gpb_handles_t;

//  All that 28 bits have: at 10,000 rents a second one slot alone lasts for seven hours, and there
//  are 2^28 slots.
#define GPB_HANDLES_GENERATIONS (UINT32_C (1) << 28)

//  generations: how often one slot is used, GPB_HANDLES_GENERATIONS but for tests. NULL: memory ran
//  out, or the library that ciphers could not start.
gpb_handles_t *gpb_handles_new (unsigned device, uint32_t generations, gpb_error_t *error);

//  What handles stand for is the caller's.
void gpb_handles_destroy (gpb_handles_t **self_p);

//  A handle for item, which is not NULL; never 0. 0: memory ran out (*error says so).
uint64_t gpb_handles_add (gpb_handles_t *self, void *item, gpb_error_t *error);

//  What this handle was given for; NULL for any other number, and for one that was removed.
void *gpb_handles_lookup (const gpb_handles_t *self, uint64_t handle);

//  From now on it stands for nothing. A handle that does so already stays as it is.
void gpb_handles_remove (gpb_handles_t *self, uint64_t handle);

//  How many stand for something.
size_t gpb_handles_count (const gpb_handles_t *self);

#endif
