//  gpb_launch - what all backends ask of a launch's work size
//
//  Compiled into each backend's module. Pure logic.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_launch.h"

#include <inttypes.h>

gpb_status_t
gpb_launch_check (const gpb_backend_services_t *services, const gpb_device_info_t *info,
                  const gpb_function_info_t *function, const gpb_launch_t *launch,
                  gpb_error_t *error)
{
    if (launch->dimensions < 1 || launch->dimensions > GPB_DIMENSIONS)
        return services->error_set (error, GPB_INVALID_ARGUMENT,
                                    "a launch has 1 to %d dimensions, not %u", GPB_DIMENSIONS,
                                    launch->dimensions);
    uint64_t group = 1;
    for (unsigned dimension = 0; dimension < launch->dimensions; dimension++) {
        uint64_t global = launch->global [dimension], local = launch->local [dimension];
        if (global < 1 || global > SIZE_MAX)
            return services->error_set (error, GPB_INVALID_ARGUMENT,
                                        "the global size %" PRIu64 " of dimension %u is not 1 to "
                                        "%zu",
                                        global, dimension, SIZE_MAX);
        if (!launch->local [0])
            continue;
        if (local < 1 || global % local != 0)
            return services->error_set (error, GPB_INVALID_ARGUMENT,
                                        "the global size %" PRIu64 " of dimension %u is no "
                                        "multiple of the local size %" PRIu64,
                                        global, dimension, local);
        if (local > info->max_work_item_sizes [dimension])
            return services->error_set (error, GPB_INVALID_ARGUMENT,
                                        "the local size %" PRIu64
                                        " of dimension %u is over the limit of %s, %" PRIu64,
                                        local, dimension, info->name,
                                        info->max_work_item_sizes [dimension]);
        //  Each factor is at most the device's limit, so that the product of two fits 64 bits as
        //  long as it is looked at after each.
        group *= local;
        if (group > function->max_work_group_size)
            return services->error_set (error, GPB_INVALID_ARGUMENT,
                                        "a work-group of %" PRIu64
                                        " work-items is over the limit of this kernel on %s, "
                                        "%" PRIu64,
                                        group, info->name, function->max_work_group_size);
    }
    return GPB_OK;
}
