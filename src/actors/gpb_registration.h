//  gpb_registration - a kernel that a client adds to a node, on its way to every device
//
//  In two rounds: first every device checks and compiles it, then, if all could, every device takes
//  it, and the broker's list too. So a kernel is on all devices or on none, and a replacement that
//  does not compile leaves the old one in its place everywhere. For a persistent kernel the
//  devices' kernel hosts are asked in their place; one of a name stays what it is, persistent or
//  not, since the other kind of executor would go on with the old one. One thread: the broker's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_REGISTRATION_H_INCLUDED
#define GPB_REGISTRATION_H_INCLUDED

#include "gpb_kernel.h"
#include "gpb_service.h"

typedef struct gpb_registration {
    gpb_kernel_t *kernel;                       //  as it will stand in the list
    zmq_msg_t check, commit;                    //  the headers of the two rounds
    bool is_persistent;                         //  hosts are asked, not devices
    bool check_only;                            //  the client asked for the first round alone
    bool is_committing;                         //  the second round
    uint64_t asked;                             //  bit i: device i was, in this round
    uint32_t waits_for;                         //  devices that have not answered in this round
    gpb_error_t failure;                        //  the first that a device answered; GPB_OK: none
    struct gpb_registration **list_p, *next;    //  all that are under way
} gpb_registration_t;

#define GPB_REGISTRATIONS_MAX 16    //  under way at once: each compiles on every device

//  PERMISSION_DENIED where the configuration lets no client add kernels.
gpb_status_t gpb_registration_allow (const gpb_config_t *config, gpb_error_t *error);

//  It joins the list of those under way until it is destroyed. NULL where the request is refused:
//  PERMISSION_DENIED, INVALID_ARGUMENT with the line, ALREADY_EXISTS (also where one of this id is
//  under way, unless both replace), FAILED_PRECONDITION (it would make a persistent kernel of one
//  that is not, or the other way round), RESOURCE_EXHAUSTED.
gpb_registration_t *gpb_registration_new (const gpb_config_t *config, gpb_kernels_t *kernels,
                                          gpb_registration_t **list_p, const gpb_call_t *call,
                                          gpb_error_t *error);

void gpb_registration_destroy (gpb_registration_t **self_p);

//  What a device has answered.
void gpb_registration_answer (gpb_registration_t *self, const Gpb__V1__Reply *reply);

//  Nobody waits for it any more: no second round follows the first. One that has begun is finished,
//  so that the kernel is on all devices.
void gpb_registration_abandon (gpb_registration_t *self);

//  When nothing is waited for any more: true, and is_committing is set, where the second round is
//  due.
bool gpb_registration_goes_on (gpb_registration_t *self);

//  Puts the kernel into the list after the second round. The outcome of the whole; self->kernel is
//  gone.
gpb_status_t gpb_registration_finish (gpb_registration_t *self, gpb_kernels_t *kernels,
                                      gpb_error_t *error);

#endif
