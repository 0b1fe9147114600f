//  A fuzz target: kernel.conf. Who wrote it may be a client (register_kernel). A definition that is
//  accepted is looked at from all sides, and requests are held against it.
//
//  Input: the text.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fuzz.h"
#include "gpb_kernel.h"

static const gpb_device_info_t s_device = {
    .max_allocation = 1 << 20,
    .local_memory = 1024,
    .max_work_group_size = 256,
    .max_work_item_sizes = { 256, 128, 64 },
};

static void
s_look (const gpb_kernel_t *kernel)
{
    static const char *const backends [] = { "opencl", "cuda" };
    gpb_error_t error;
    gpb_fuzz_check (gpb_kernel_id (kernel) [0], "an id");
    gpb_fuzz_check (gpb_kernel_entry (kernel) [0], "an entry");
    gpb_fuzz_check (gpb_kernel_description (kernel) && gpb_kernel_shared (kernel), "texts");
    for (unsigned dimension = 0; dimension < gpb_kernel_dimensions (kernel); dimension++)
        gpb_fuzz_check (gpb_kernel_global (kernel, dimension), "dimension %u", dimension);
    for (size_t index = 0; gpb_kernel_require (kernel, index); index++)
        gpb_fuzz_check (index < GPB_CAPABILITIES_MAX, "an end");
    for (unsigned index = 0; index < 2; index++) {
        gpb_code_t code;
        if (gpb_kernel_code (kernel, backends [index], &code, &error) == GPB_OK)
            gpb_fuzz_check (code.data && code.size && code.options, "code");
    }
}

//  A call whose scalars are all this; its sizes are what the refusals ask for, or nothing.
static void
s_plan (const gpb_kernel_t *kernel, uint64_t number)
{
    gpb_value_t values [GPB_KERNEL_PARAMETERS_MAX];
    size_t count = gpb_kernel_parameters (kernel);
    for (size_t index = 0; index < count; index++) {
        const gpb_parameter_t *parameter = gpb_kernel_parameter (kernel, index);
        gpb_value_t *value = &values [index];
        *value = (gpb_value_t){ .type = parameter->type };
        value->kind = parameter->direction == GPB_SCALAR ? GPB_VALUE_SCALAR
                      : parameter->direction == GPB_OUT  ? GPB_VALUE_OUTPUT
                                                         : GPB_VALUE_BUFFER;
        if (parameter->direction == GPB_SCALAR)
            value->scalar.scalar.u64 = number;
        else if (value->kind == GPB_VALUE_BUFFER)
            value->size = UINT64_MAX;
    }
    gpb_kernel_call_t call = { .values = values, .values_count = count };
    gpb_kernel_plan_t plan;
    gpb_error_t error = { GPB_OK, "" };
    gpb_status_t status = gpb_kernel_plan (kernel, &call, &s_device, &plan, &error);
    if (status != GPB_OK) {
        gpb_fuzz_check (error.text [0], "a reason");
        return;
    }
    for (size_t index = 0; index < count; index++)
        //  A buffer is there already, however large.
        gpb_fuzz_check (values [index].kind == GPB_VALUE_BUFFER
                            || plan.sizes [index] <= s_device.max_allocation,
                        "parameter %zu", index);
    gpb_fuzz_check (plan.shared <= s_device.local_memory, "local memory");
    for (unsigned dimension = 0; dimension < plan.dimensions && !plan.empty; dimension++)
        gpb_fuzz_check (plan.global [dimension], "dimension %u", dimension);
}

//  Messages of a persistent kernel: what is taken is within what the definition says of them.
static void
s_message (gpb_kernel_t *kernel)
{
    static const char *const settings [] = { "lanes", "slots", "slot_size", "devices", "none" };
    static const char *const settings_values [] = { "7", "64", "1000", "gpu|0" };
    const gpb_persistent_t *persistent = gpb_kernel_persistent (kernel);
    if (!persistent)
        return;
    gpb_error_t error = { GPB_OK, "" };
    for (unsigned index = 0; index < 20; index++)
        if (gpb_kernel_persistent_set (kernel, settings [index % 5], settings_values [index / 5],
                                       &error)
            != GPB_OK)
            gpb_fuzz_check (error.text [0], "a reason");
    gpb_fuzz_check (persistent->lanes && persistent->lanes <= GPB_PERSISTENT_LANES_MAX, "lanes");
    gpb_fuzz_check (persistent->slots && !(persistent->slots & (persistent->slots - 1)), "slots");
    gpb_fuzz_check (persistent->slot_size % 128 == 96, "slot_size");
    gpb_fuzz_check (persistent->input_max <= GPB_PERSISTENT_MESSAGE_MAX
                        && persistent->output_max <= GPB_PERSISTENT_MESSAGE_MAX,
                    "bounds");
    gpb_kernel_persistent_on (kernel, 0, &s_device);
    for (uint64_t size = 0; size <= persistent->input_max;
         size = 2 * size + persistent->element_size) {
        const gpb_value_t values [2] = { { .kind = GPB_VALUE_PAYLOAD, .size = size },
                                         { .kind = GPB_VALUE_OUTPUT } };
        const gpb_kernel_call_t call = { .values = values, .values_count = 2 };
        uint64_t output_size;
        if (gpb_kernel_plan_message (kernel, &call, &output_size, &error) == GPB_OK)
            gpb_fuzz_check (output_size <= GPB_PERSISTENT_MESSAGE_MAX, "an output");
        else
            gpb_fuzz_check (error.text [0], "a reason");
    }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    gpb_fuzz_input_t input = { data, size };
    char *text = gpb_fuzz_text (&input);
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (text, "fake: noop", &error);
    if (!kernel)
        gpb_fuzz_check (error.status == GPB_INVALID_ARGUMENT && error.text [0], "%s: %s",
                        gpb_status_name (error.status), error.text);
    else {
        s_look (kernel);
        s_plan (kernel, 0);
        s_plan (kernel, 7);
        s_plan (kernel, UINT64_MAX);
        s_message (kernel);
    }
    gpb_kernel_destroy (&kernel);
    free (text);
    return 0;
}
