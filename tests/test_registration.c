//  Tests of gpb_registration: two rounds, and what ends them.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_registration.h"

#include <string.h>

static const char s_definition [] =
    "id = \"fresh\"; source = \"fresh.c\";\n"
    "parameters = ( { name = \"n\"; direction = \"scalar\"; type = \"u32\"; } );\n"
    "global = [ \"n\" ];\n";

static gpb_error_t error;
static gpb_config_t *s_config;
static gpb_kernels_t *s_kernels;
static gpb_registration_t *s_list;
static Gpb__V1__Request s_request;
static Gpb__V1__RegisterKernel s_body;

static void
s_open (void)
{
    s_config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (s_config, "allow_register", "true", &error));
    s_kernels = gpb_kernels_new ("/nowhere", &error);
    gpb__v1__request__init (&s_request);
    gpb__v1__register_kernel__init (&s_body);
    s_request.version = 1;
    s_request.id = 5;
    s_request.body_case = GPB__V1__REQUEST__BODY_REGISTER_KERNEL;
    s_request.register_kernel = &s_body;
    s_body.definition = (char *) s_definition;
    s_body.source = (char *) "KERNEL (fresh) (uint n) { (void) n; }";
}

static void
s_close (void)
{
    ck_assert_ptr_null (s_list);
    gpb_kernels_destroy (&s_kernels);
    gpb_config_destroy (&s_config);
}

static gpb_registration_t *
s_new (void)
{
    gpb_call_t call = { .request = &s_request };
    return gpb_registration_new (s_config, s_kernels, &s_list, &call, &error);
}

static void
s_answer (gpb_registration_t *registration, gpb_status_t status)
{
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.status = (Gpb__V1__Status) status;
    reply.message = (char *) gpb_status_name (status);
    gpb_registration_answer (registration, &reply);
}

START_TEST (test_two_rounds_and_the_kernel_is_there)
{
    s_open ();
    gpb_registration_t *registration = s_new ();
    ck_assert_ptr_nonnull (registration);
    gpb_codec_t *codec = gpb_codec_new (&error);
    const Gpb__V1__Request *header = gpb_codec_request (codec, &registration->check, NULL, &error);
    ck_assert (header->register_kernel->check && header->register_kernel->replace);
    ck_assert_uint_eq (header->id, 5);
    header = gpb_codec_request (codec, &registration->commit, NULL, &error);
    ck_assert (!header->register_kernel->check && header->register_kernel->replace);
    ck_assert (!s_body.check && !s_body.replace);    //  the client's stays as it is
    gpb_codec_destroy (&codec);
    for (unsigned round = 0; round < 2; round++) {
        registration->waits_for = 2;
        s_answer (registration, GPB_OK);
        s_answer (registration, GPB_OK);
        ck_assert_uint_eq (registration->waits_for, 0);
        ck_assert_ptr_null (gpb_kernels_lookup (s_kernels, "fresh"));
        ck_assert_int_eq (gpb_registration_goes_on (registration), round == 0);
    }
    ck_assert_ok (gpb_registration_finish (registration, s_kernels, &error));
    ck_assert_ptr_nonnull (gpb_kernels_lookup (s_kernels, "fresh"));
    gpb_registration_destroy (&registration);

    ck_assert_ptr_null (s_new ());
    ck_assert_refused (error.status, GPB_ALREADY_EXISTS, "say replace");
    s_body.replace = true;
    registration = s_new ();
    ck_assert_ptr_nonnull (registration);
    gpb_registration_destroy (&registration);
    s_close ();
}
END_TEST

START_TEST (test_the_first_refusal_is_the_answer_and_there_is_no_second_round)
{
    s_open ();
    gpb_registration_t *registration = s_new ();
    registration->waits_for = 3;
    s_answer (registration, GPB_OK);
    s_answer (registration, GPB_INVALID_ARGUMENT);
    gpb_registration_answer (registration, NULL);
    ck_assert (!gpb_registration_goes_on (registration));
    ck_assert_refused (gpb_registration_finish (registration, s_kernels, &error),
                       GPB_INVALID_ARGUMENT, "INVALID_ARGUMENT");
    ck_assert_ptr_null (gpb_kernels_lookup (s_kernels, "fresh"));
    gpb_registration_destroy (&registration);
    registration = s_new ();
    registration->waits_for = 1;
    gpb_registration_answer (registration, NULL);
    ck_assert_refused (gpb_registration_finish (registration, s_kernels, &error), GPB_INTERNAL,
                       "could not be read");
    gpb_registration_destroy (&registration);
    s_close ();
}
END_TEST

START_TEST (test_a_check_changes_nothing)
{
    s_open ();
    s_body.check = true;
    gpb_registration_t *registration = s_new ();
    ck_assert (!gpb_registration_goes_on (registration));
    ck_assert_ok (gpb_registration_finish (registration, s_kernels, &error));
    ck_assert_ptr_null (gpb_kernels_lookup (s_kernels, "fresh"));
    gpb_registration_destroy (&registration);
    s_close ();
}
END_TEST

START_TEST (test_what_nobody_waits_for_goes_no_further_than_its_first_round)
{
    s_open ();
    gpb_registration_t *registration = s_new ();
    gpb_registration_abandon (registration);
    ck_assert (!gpb_registration_goes_on (registration));
    ck_assert_int_eq (gpb_registration_finish (registration, s_kernels, &error), GPB_CANCELLED);
    gpb_registration_destroy (&registration);
    registration = s_new ();
    ck_assert (gpb_registration_goes_on (registration));
    gpb_registration_abandon (registration);    //  too late: devices have it
    ck_assert_ok (gpb_registration_finish (registration, s_kernels, &error));
    ck_assert_ptr_nonnull (gpb_kernels_lookup (s_kernels, "fresh"));
    gpb_registration_destroy (&registration);
    s_close ();
}
END_TEST

START_TEST (test_what_is_under_way_is_bounded_and_clashes)
{
    s_open ();
    gpb_registration_t *under_way [GPB_REGISTRATIONS_MAX];
    under_way [0] = s_new ();
    ck_assert_ptr_null (s_new ());
    ck_assert_refused (error.status, GPB_ALREADY_EXISTS, "another request");
    s_body.replace = true;
    for (unsigned number = 1; number < GPB_REGISTRATIONS_MAX; number++)
        ck_assert_ptr_nonnull (under_way [number] = s_new ());
    ck_assert_ptr_null (s_new ());
    ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "16 kernels");
    gpb_registration_destroy (&under_way [7]);    //  from the middle
    ck_assert_ptr_nonnull (under_way [7] = s_new ());
    for (unsigned number = 0; number < GPB_REGISTRATIONS_MAX; number++)
        gpb_registration_destroy (&under_way [number]);
    s_close ();
}
END_TEST

START_TEST (test_what_is_wrong_is_refused_before_any_device_sees_it)
{
    s_open ();
    s_body.definition = (char *) "id = \"fresh\";\nnonsense = 3;\n";
    ck_assert_ptr_null (s_new ());
    ck_assert_int_eq (error.status, GPB_INVALID_ARGUMENT);
    ck_assert_ok (gpb_config_set (s_config, "allow_register", "false", &error));
    ck_assert_ptr_null (s_new ());
    ck_assert_refused (error.status, GPB_PERMISSION_DENIED, "allow_register");
    s_close ();
}
END_TEST

START_TEST (test_a_registration_that_gets_no_memory_is_refused)
{
    s_open ();
    for (int64_t after = 0;; after++) {
        gpb_alloc_fail (after, 0);
        gpb_registration_t *registration = s_new ();
        gpb_status_t status = error.status;
        bool done = false;
        if (registration) {
            gpb_registration_goes_on (registration);
            status = gpb_registration_finish (registration, s_kernels, &error);
            done = status == GPB_OK;
        }
        done = gpb_alloc_fail (-1, 0) <= (uint64_t) after && done;
        gpb_registration_destroy (&registration);
        ck_assert_ptr_null (s_list);
        if (done)
            break;
        ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "memory");
        ck_assert_ptr_null (gpb_kernels_lookup (s_kernels, "fresh"));
    }
    s_close ();
}
END_TEST

START_TEST (test_the_configuration_has_the_last_word_on_a_persistent_kernel)
{
    s_open ();
    s_body.definition =
        (char *) "id = \"fresh\"; source = \"fresh.c\"; persistent = true; lanes = 1;\n"
                 "parameters = ( { name = \"in\"; direction = \"in\"; type = \"f32\"; },\n"
                 "    { name = \"out\"; direction = \"out\"; type = \"f32\"; count = \"count\"; } "
                 ");\n";
    s_body.source = (char *) "HANDLER (fresh) (GLOBAL const void *in, uint in_size, GLOBAL void "
                             "*out, uint *out_size, GLOBAL void *state) { }";
    ck_assert_ok (gpb_config_set (s_config, "persistent", "fresh:lanes=3,devices=cpu", &error));
    gpb_registration_t *registration = s_new ();
    ck_assert_msg (registration != NULL, "%s", error.text);
    ck_assert_uint_eq (gpb_kernel_persistent (registration->kernel)->lanes, 3);
    ck_assert_str_eq (gpb_kernel_persistent_device (registration->kernel, 0), "cpu");
    gpb_registration_destroy (&registration);
    ck_assert_ok (gpb_config_set (s_config, "persistent", "fresh:slots=3", &error));
    ck_assert_ptr_null (s_new ());
    ck_assert_refused (error.status, GPB_INVALID_ARGUMENT, "slots");
    s_close ();
}
END_TEST

GPB_TEST_MAIN ("gpb_registration", 20,
               test_the_configuration_has_the_last_word_on_a_persistent_kernel,
               test_two_rounds_and_the_kernel_is_there,
               test_the_first_refusal_is_the_answer_and_there_is_no_second_round,
               test_a_check_changes_nothing,
               test_what_nobody_waits_for_goes_no_further_than_its_first_round,
               test_what_is_under_way_is_bounded_and_clashes,
               test_what_is_wrong_is_refused_before_any_device_sees_it,
               test_a_registration_that_gets_no_memory_is_refused)
