//  Tests of gpb_kernels: the first folder wins, what is refused becomes a notice, and a replaced
//  definition lives on.

#include "gpb_alloc.h"
#include "gpb_kernel.h"
#include "gpb_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char s_root [256];

static void
s_setup (void)
{
    const char *base = getenv ("TMPDIR");
    snprintf (s_root, sizeof s_root, "%s/gpb-kernels-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull (mkdtemp (s_root));
}

static void
s_teardown (void)
{
    char command [300];
    snprintf (command, sizeof command, "rm -rf '%s'", s_root);
    ck_assert_int_eq (system (command), 0);
}

//  ROOT/folder/id with a definition that says this description; NULL: one that is refused.
static void
s_package (const char *folder, const char *id, const char *description)
{
    char path [400], name [500];
    snprintf (path, sizeof path, "%s/%s", s_root, folder);
    mkdir (path, 0700);
    snprintf (path, sizeof path, "%s/%s/%s", s_root, folder, id);
    ck_assert_int_eq (mkdir (path, 0700), 0);
    snprintf (name, sizeof name, "%s/k.c", path);
    FILE *file = fopen (name, "w");
    ck_assert_ptr_nonnull (file);
    fputs ("code", file);
    fclose (file);
    snprintf (name, sizeof name, "%s/kernel.conf", path);
    file = fopen (name, "w");
    ck_assert_ptr_nonnull (file);
    fprintf (file, "id = \"%s\"; source = \"k.c\"; entry = \"f\"; global = [ 1 ];\n", id);
    fprintf (file, "description = %s%s%s;\n", description ? "\"" : "",
             description ? description : "", description ? "\"" : "");
    fputs ("parameters = ( { name = \"x\"; direction = \"out\"; type = \"u8\"; count = 1; } );\n",
           file);
    fclose (file);
}

static gpb_kernel_t *
s_parse (const char *id, const char *description)
{
    char definition [400];
    snprintf (definition, sizeof definition,
              "id = \"%s\"; source = \"k.c\"; entry = \"f\"; global = [ 1 ]; description = \"%s\";"
              "parameters = ( { name = \"x\"; direction = \"out\"; type = \"u8\"; count = 1; } );",
              id, description);
    gpb_error_t error = { GPB_OK, "" };
    gpb_kernel_t *kernel = gpb_kernel_parse (definition, "code", &error);
    ck_assert_msg (kernel != NULL, "%s", error.text);
    return kernel;
}

//  Two folders: b, a and c in the first, another a, d and one that is refused in the second, and
//  what is no package in both.
static void
s_make_folders (char *path, size_t size)
{
    s_package ("one", "b", "first b");
    s_package ("one", "a", "first a");
    s_package ("one", "c", "first c");
    s_package ("two", "a", "second a");
    s_package ("two", "d", "second d");
    s_package ("two", "broken", NULL);
    char other [400];
    snprintf (other, sizeof other, "%s/one/no-package", s_root);
    ck_assert_int_eq (mkdir (other, 0700), 0);
    snprintf (other, sizeof other, "%s/two/file", s_root);
    fclose (fopen (other, "w"));
    snprintf (path, size, "%s/one::%s/missing:%s/two:", s_root, s_root, s_root);
}

START_TEST (test_packages_are_found_and_the_first_folder_wins)
{
    s_setup ();
    char path [1024];
    s_make_folders (path, sizeof path);
    gpb_error_t error;
    gpb_kernels_t *kernels = gpb_kernels_new (path, &error);
    ck_assert_ptr_nonnull (kernels);
    const char *const ids [] = { "a", "b", "c", "d" };
    for (size_t index = 0; index < 4; index++) {
        ck_assert_str_eq (gpb_kernel_id (gpb_kernels_at (kernels, index)), ids [index]);
        ck_assert_ptr_eq (gpb_kernels_lookup (kernels, ids [index]),
                          gpb_kernels_at (kernels, index));
    }
    ck_assert_ptr_null (gpb_kernels_at (kernels, 4));
    ck_assert_ptr_null (gpb_kernels_lookup (kernels, "broken"));
    ck_assert_ptr_null (gpb_kernels_lookup (kernels, ""));
    ck_assert_str_eq (gpb_kernel_description (gpb_kernels_lookup (kernels, "a")), "first a");

    ck_assert_ptr_nonnull (strstr (gpb_kernels_notice (kernels, 0), "/missing: No such file"));
    ck_assert_ptr_nonnull (
        strstr (gpb_kernels_notice (kernels, 1), "/two/broken/kernel.conf:2: syntax error"));
    ck_assert_ptr_null (gpb_kernels_notice (kernels, 2));
    gpb_kernels_destroy (&kernels);
    ck_assert_ptr_null (kernels);
    s_teardown ();
}
END_TEST

START_TEST (test_no_path_is_no_kernels)
{
    gpb_error_t error;
    const char *const paths [] = { NULL, "", ":", ":::" };
    for (size_t index = 0; index < 4; index++) {
        gpb_kernels_t *kernels = gpb_kernels_new (paths [index], &error);
        ck_assert_ptr_nonnull (kernels);
        ck_assert_ptr_null (gpb_kernels_at (kernels, 0));
        ck_assert_ptr_null (gpb_kernels_notice (kernels, 0));
        gpb_kernels_destroy (&kernels);
    }
    char *endless = malloc (10001);
    memset (endless, 'x', 10000);
    endless [10000] = 0;
    gpb_kernels_t *kernels = gpb_kernels_new (endless, &error);
    ck_assert_ptr_nonnull (strstr (gpb_kernels_notice (kernels, 0), "File name too long"));
    gpb_kernels_destroy (&kernels);
    free (endless);
}
END_TEST

START_TEST (test_a_definition_that_is_replaced_lives_on_for_who_holds_it)
{
    gpb_error_t error;
    gpb_kernels_t *kernels = gpb_kernels_new (NULL, &error);
    gpb_kernel_t *kernel = s_parse ("k", "old");
    ck_assert_ok (gpb_kernels_insert (kernels, &kernel, false, &error));
    ck_assert_ptr_null (kernel);
    gpb_kernel_t *old = gpb_kernel_retain (gpb_kernels_lookup (kernels, "k"));
    kernel = s_parse ("k", "new");
    ck_assert_refused (gpb_kernels_insert (kernels, &kernel, false, &error), GPB_ALREADY_EXISTS,
                       "there is a kernel \"k\" already");
    ck_assert_ptr_null (kernel);
    ck_assert_ptr_eq (gpb_kernels_lookup (kernels, "k"), old);
    kernel = s_parse ("k", "new");
    ck_assert_ok (gpb_kernels_insert (kernels, &kernel, true, &error));
    ck_assert_str_eq (gpb_kernel_description (gpb_kernels_lookup (kernels, "k")), "new");
    ck_assert_str_eq (gpb_kernel_description (old), "old");
    ck_assert_ptr_null (gpb_kernels_at (kernels, 1));
    gpb_kernels_destroy (&kernels);
    ck_assert_str_eq (gpb_kernel_description (old), "old");
    gpb_kernel_destroy (&old);
    ck_assert_ptr_null (old);
}
END_TEST

START_TEST (test_many_definitions_stay_in_order)
{
    gpb_error_t error;
    gpb_kernels_t *kernels = gpb_kernels_new (NULL, &error);
    for (int number = 0; number < 100; number++) {
        char id [32];
        snprintf (id, sizeof id, "k%02d", number * 37 % 100);
        gpb_kernel_t *kernel = s_parse (id, "");
        ck_assert_ok (gpb_kernels_insert (kernels, &kernel, number % 2, &error));
    }
    for (size_t number = 0; number < 100; number++) {
        char id [32];
        snprintf (id, sizeof id, "k%02zu", number);
        ck_assert_str_eq (gpb_kernel_id (gpb_kernels_at (kernels, number)), id);
    }
    ck_assert_ptr_null (gpb_kernels_at (kernels, 100));
    gpb_kernels_destroy (&kernels);
}
END_TEST

START_TEST (test_the_default_path_has_the_folders_that_are_there)
{
    s_setup ();
    char value [1024], expected [1024];
    snprintf (value, sizeof value, "%s/no:%s::/dev/null", s_root, s_root);
    setenv ("GPB_KERNEL_PATH", value, 1);
    char *path = gpb_kernels_default_path ();
    ck_assert_ptr_nonnull (path);
    snprintf (expected, sizeof expected, "%s", s_root);
    ck_assert_int_eq (strncmp (path, expected, strlen (expected)), 0);
    ck_assert_ptr_null (strstr (path, "/no"));
    ck_assert_ptr_null (strstr (path, "/dev/null"));
    ck_assert_ptr_null (strstr (path, "::"));
    gpb_free (path);
    unsetenv ("GPB_KERNEL_PATH");
    path = gpb_kernels_default_path ();
    ck_assert_ptr_null (strstr (path, s_root));
    gpb_free (path);
    gpb_alloc_fail (0, 0);
    ck_assert_ptr_null (gpb_kernels_default_path ());
    gpb_alloc_fail (-1, 0);
    s_teardown ();
}
END_TEST

START_TEST (test_each_allocation_that_fails_is_said_and_nothing_leaks)
{
    s_setup ();
    char path [1024];
    s_make_folders (path, sizeof path);
    int64_t failing = 0;
    for (;; failing++) {
        gpb_error_t error;
        gpb_alloc_fail (failing, 0);
        gpb_kernels_t *kernels = gpb_kernels_new (path, &error);
        gpb_alloc_fail (-1, 0);
        if (kernels) {
            ck_assert_ptr_nonnull (gpb_kernels_at (kernels, 3));
            gpb_kernels_destroy (&kernels);
            break;
        }
        ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "out of memory");
    }
    ck_assert_int_gt (failing, 50);
    s_teardown ();
}
END_TEST

GPB_TEST_MAIN ("gpb_kernels", 20, test_packages_are_found_and_the_first_folder_wins,
               test_no_path_is_no_kernels,
               test_a_definition_that_is_replaced_lives_on_for_who_holds_it,
               test_many_definitions_stay_in_order,
               test_the_default_path_has_the_folders_that_are_there,
               test_each_allocation_that_fails_is_said_and_nothing_leaks)
