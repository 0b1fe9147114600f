//  gpb_test_keys - key pairs in a scratch folder
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_keys.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char s_folder [64];    //  "": none

const char *
gpb_test_scratch (void)
{
    if (!s_folder [0]) {
        strcpy (s_folder, "/tmp/gpb_keys.XXXXXX");
        ck_assert_ptr_nonnull (mkdtemp (s_folder));
    }
    return s_folder;
}

const char *
gpb_test_path (const char *name)
{
    static char paths [8][PATH_MAX];
    static unsigned next;
    char *path = paths [next++ % 8];
    snprintf (path, PATH_MAX, "%s/%s", gpb_test_scratch (), name);
    return path;
}

const char *
gpb_test_key (const char *name)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_certificate_t *certificate = gpb_certificate_new (name, &error);
    ck_assert_msg (certificate != NULL, "%s", error.text);
    const char *path = gpb_test_path (name);
    ck_assert_ok (gpb_certificate_save (certificate, path, &error));
    gpb_certificate_destroy (&certificate);
    return path;
}

const char *
gpb_test_allowed (void)
{
    const char *folder = gpb_test_path ("allowed");
    mkdir (folder, 0700);
    return folder;
}

static void
s_allowed_path (const char *name, char *path)
{
    snprintf (path, PATH_MAX, "%s/%s", gpb_test_allowed (), name);
}

void
gpb_test_allow (const char *name)
{
    char path [PATH_MAX], text [1024] = "";
    s_allowed_path (name, path);
    FILE *file = fopen (gpb_test_path (name), "r");
    ck_assert_ptr_nonnull (file);
    ck_assert_uint_gt (fread (text, 1, sizeof text - 1, file), 0);
    fclose (file);
    gpb_test_file (path, text);
}

void
gpb_test_disallow (const char *name)
{
    char path [PATH_MAX];
    s_allowed_path (name, path);
    ck_assert_int_eq (unlink (path), 0);
}

void
gpb_test_file (const char *path, const char *text)
{
    FILE *file = fopen (path, "w");
    ck_assert_msg (file != NULL, "%s", path);
    ck_assert_int_ge (fputs (text, file), 0);
    ck_assert_int_eq (fclose (file), 0);
}

static void
s_clear (const char *folder)
{
    DIR *files = opendir (folder);
    struct dirent *entry;
    while (files && (entry = readdir (files))) {
        char path [PATH_MAX];
        snprintf (path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name [0] != '.' && unlink (path) != 0)
            s_clear (path);
    }
    if (files)
        closedir (files);
    rmdir (folder);
}

void
gpb_test_keys_clear (void)
{
    s_clear (gpb_test_scratch ());
    s_folder [0] = 0;
}
