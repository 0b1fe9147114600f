//  gpb_job_private - what the files that a job is made of share
//
//  gpb_job.c has commands, read, write and copy, and the end of every job; gpb_job_execute.c the
//  launches. One thread: the device's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_JOB_PRIVATE_H_INCLUDED
#define GPB_JOB_PRIVATE_H_INCLUDED

#include "gpb_job.h"

//  Notes a command of the job, where the call that was to enqueue it gave status OK.
void gpb_job_note_command (gpb_job_t *self, gpb_command_kind_t kind, gpb_event_t *event,
                           gpb_status_t status);

//  Enqueue a command on the job's stream, and note it. Sizes and offsets are bytes.
gpb_status_t gpb_job_enqueue_copy (gpb_job_t *self, const gpb_workshop_t *shop,
                                   gpb_command_kind_t kind, const gpb_place_t *target,
                                   const gpb_place_t *source, uint64_t size, gpb_notify_t notify,
                                   gpb_error_t *error);
gpb_status_t gpb_job_enqueue_zero (gpb_job_t *self, const gpb_workshop_t *shop,
                                   gpb_memory_t *memory, uint64_t offset, uint64_t size,
                                   gpb_notify_t notify, gpb_error_t *error);

//  What a refusal comes to: before the first command all memory goes back, and it is the caller's
//  status; in the middle of enqueuing the job goes on to its end, which has this failure, and it is
//  OK.
gpb_status_t gpb_job_break_off (gpb_job_t *self, const gpb_workshop_t *shop,
                                const gpb_error_t *error);

//  A rented buffer that the job may use: NOT_FOUND where it is not its owner's,
//  FAILED_PRECONDITION while it is mapped. Borrowed.
gpb_status_t gpb_job_use_rental (gpb_job_t *self, const gpb_workshop_t *shop, uint64_t handle,
                                 gpb_rental_t **rental_p, gpb_error_t *error);

//  INVALID_ARGUMENT where size bytes from offset on are not all the buffer's.
gpb_status_t gpb_job_check_range (const gpb_rental_t *rental, uint64_t offset, uint64_t size,
                                  gpb_error_t *error);

//  A byte of a rented buffer, counted from the buffer's own first one, and the first one of a
//  block, as places.
gpb_place_t gpb_job_rental_place (const gpb_rental_t *rental, uint64_t offset);
gpb_place_t gpb_job_block_place (const gpb_block_t *block);

//  Marks payload frame index in *used; INVALID_ARGUMENT where the message has none such. argument
//  is for the sentence.
gpb_status_t gpb_job_read_frame (gpb_job_t *self, uint32_t index, size_t argument, uint32_t *used,
                                 gpb_error_t *error);

//  gpb_blocks_take, with its status.
gpb_status_t gpb_job_take_block (gpb_block_t **block_p, const gpb_workshop_t *shop,
                                 gpb_memory_kind_t kind, uint64_t size, gpb_error_t *error);

#endif
