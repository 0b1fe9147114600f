//  gpb_certificate - a CURVE key: the public one of another, or a key pair of one's own
//
//  Files are read line by line rather than by zconfig, which prints what is wrong with them and
//  tells its caller nothing: `public-key`, `secret-key` and `name` are looked for, wherever they
//  are indented to, as pyzmq does it. What a file says is never quoted in an error, since it may be
//  a key.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_certificate.h"

#include "gpb_alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#define KEY_SIZE 41            //  40 characters of Z85, and the NUL
#define NAME_SIZE 65           //  64 characters: as a node's name
#define FILE_MAX_SIZE 16384    //  bytes; CZMQ's have 500
#define SECRET_SUFFIX "_secret"

struct _gpb_certificate_t {
    char name [NAME_SIZE];
    char public_key [KEY_SIZE];
    char secret_key [KEY_SIZE];    //  "": only the public one is known
};

//  ---------------------------------------------------------------------------------------------------------
//  Names and keys

static bool
s_is_name (const char *text)
{
    static const char letters [] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    size_t size = strlen (text);
    return size > 0 && size < NAME_SIZE && strchr (letters, text [0])
           && strspn (text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@-")
                  == size;
}

static bool
s_ends_in (const char *text, const char *suffix)
{
    size_t size = strlen (text), suffix_size = strlen (suffix);
    return size > suffix_size && strcmp (text + size - suffix_size, suffix) == 0;
}

//  A file's name is the key's where nothing else is said.
static void
s_name_after (gpb_certificate_t *self, const char *path)
{
    static const char *const suffixes [] = { SECRET_SUFFIX, ".key", ".pub", ".cert", ".txt" };
    char name [NAME_MAX + 1];
    const char *slash = strrchr (path, '/');
    snprintf (name, sizeof name, "%s", slash ? slash + 1 : path);
    for (size_t index = 0; index < sizeof suffixes / sizeof suffixes [0]; index++)
        if (s_ends_in (name, suffixes [index]))
            name [strlen (name) - strlen (suffixes [index])] = 0;
    if (s_is_name (name))
        memcpy (self->name, name, strlen (name) + 1);
}

static bool
s_is_key (const char *text)
{
    uint8_t key [32];
    bool is_key = strlen (text) == KEY_SIZE - 1 && zmq_z85_decode (key, text);
    sodium_memzero (key, sizeof key);
    return is_key;
}

static gpb_certificate_t *
s_new (gpb_error_t *error)
{
    if (!zmq_has ("curve")) {
        gpb_error_set (error, GPB_FAILED_PRECONDITION,
                       "this libzmq has no CURVE: one that was built with libsodium is needed");
        return NULL;
    }
    gpb_certificate_t *self = gpb_alloc (1, sizeof *self);
    if (!self)
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a certificate");
    return self;
}

gpb_certificate_t *
gpb_certificate_new (const char *name, gpb_error_t *error)
{
    if (!s_is_name (name)) {
        gpb_error_set (
            error, GPB_INVALID_ARGUMENT,
            "a key's name is 1 to %d letters, digits, '_', '.', '@' and '-', the first a "
            "letter or a digit, not \"%.100s\"",
            NAME_SIZE - 1, name);
        return NULL;
    }
    gpb_certificate_t *self = s_new (error);
    if (!self)
        return NULL;
    memcpy (self->name, name, strlen (name) + 1);
    if (zmq_curve_keypair (self->public_key, self->secret_key) != 0) {
        gpb_error_set (error, GPB_INTERNAL, "no key pair: %s", zmq_strerror (zmq_errno ()));
        gpb_certificate_destroy (&self);
    }
    return self;
}

void
gpb_certificate_destroy (gpb_certificate_t **self_p)
{
    gpb_certificate_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    sodium_memzero (self, sizeof *self);
    gpb_free (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  Reading

//  The value of a line `name = "value"`, cut out in place; NULL where the line sets another name.
static char *
s_value (char *line, const char *name)
{
    size_t size = strlen (name);
    line += strspn (line, " \t");
    if (strncmp (line, name, size) != 0)
        return NULL;
    line += size;
    line += strspn (line, " \t");
    if (*line != '=')
        return NULL;
    line += 1 + strspn (line + 1, " \t");
    if (*line == '"' || *line == '\'') {
        line [1 + strcspn (line + 1, (char [2]){ *line, 0 })] = 0;
        return line + 1;
    }
    line [strcspn (line, " \t\r#")] = 0;
    return line;
}

static gpb_status_t
s_parse (gpb_certificate_t *self, const char *path, char *text, gpb_error_t *error)
{
    int number = 0;
    char *rest = text;
    for (char *line; (line = strsep (&rest, "\n"));) {
        number++;
        char *name = s_value (line, "name");
        char *public_key = name ? NULL : s_value (line, "public-key");
        char *secret_key = name || public_key ? NULL : s_value (line, "secret-key");
        char *key = public_key ? public_key : secret_key;
        if (name && !s_is_name (name))
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "%s:%d: a key's name is 1 to %d letters, digits, '_', '.', '@' "
                                  "and '-'",
                                  path, number, NAME_SIZE - 1);
        if (name)
            memcpy (self->name, name, strlen (name) + 1);
        if (key && !s_is_key (key))
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "%s:%d: a CURVE key is 40 characters of Z85 in double quotes",
                                  path, number);
        if (key)
            memcpy (public_key ? self->public_key : self->secret_key, key, KEY_SIZE);
    }
    if (!self->public_key [0])
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s: no line `public-key = \"...\"`; `gpb keygen` makes such files",
                              path);
    if (!self->name [0])
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s: neither the file's name nor a line `name = \"...\"` is the name "
                              "of a key",
                              path);
    char derived [KEY_SIZE] = "";
    bool is_pair = !self->secret_key [0]
                   || (zmq_curve_public (derived, self->secret_key) == 0
                       && memcmp (derived, self->public_key, KEY_SIZE) == 0);
    return is_pair ? GPB_OK
                   : gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                    "%s: its two keys do not belong together", path);
}

//  The file's text, with a NUL behind it, into text. Its length, or -1.
static ssize_t
s_read (const char *path, struct stat *about, char *text, gpb_error_t *error)
{
    //  A fifo would be waited for.
    int file = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat (file, about) != 0) {
        gpb_error_set (error,
                       errno == ENOENT || errno == ENOTDIR ? GPB_NOT_FOUND : GPB_INVALID_ARGUMENT,
                       "%s: cannot be opened: %s", path, strerror (errno));
        if (file >= 0)
            close (file);
        return -1;
    }
    ssize_t size = S_ISREG (about->st_mode) ? read (file, text, FILE_MAX_SIZE + 1) : 0;
    close (file);
    if (size <= 0 || size > FILE_MAX_SIZE) {
        gpb_error_set (error, GPB_INVALID_ARGUMENT,
                       "%s: not a file of 1 to %d bytes, as a certificate is", path, FILE_MAX_SIZE);
        return -1;
    }
    text [size] = 0;
    return size;
}

static gpb_certificate_t *
s_load (const char *path, gpb_error_t *error)
{
    gpb_certificate_t *self = s_new (error);
    char *text = self ? gpb_alloc (FILE_MAX_SIZE + 2, 1) : NULL;
    if (!text) {
        if (self)
            gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "%s: no memory to read it", path);
        gpb_certificate_destroy (&self);
        return NULL;
    }
    struct stat about;
    s_name_after (self, path);
    gpb_status_t status = GPB_INVALID_ARGUMENT;
    if (s_read (path, &about, text, error) > 0)
        status = s_parse (self, path, text, error);
    if (status == GPB_OK && self->secret_key [0] && (about.st_mode & 077) != 0)
        status = gpb_error_set (error, GPB_FAILED_PRECONDITION,
                                "%s: others than its owner may open it (mode 0%o); a secret key is "
                                "mode 0600",
                                path, (unsigned) about.st_mode & 07777);
    sodium_memzero (text, FILE_MAX_SIZE + 2);
    gpb_free (text);
    if (status != GPB_OK)
        gpb_certificate_destroy (&self);
    return self;
}

gpb_certificate_t *
gpb_certificate_load (const char *path, gpb_error_t *error)
{
    char secret [PATH_MAX];
    int size = snprintf (secret, sizeof secret, "%s" SECRET_SUFFIX, path);
    bool has_secret = size < (int) sizeof secret && access (secret, F_OK) == 0;
    return s_load (has_secret ? secret : path, error);
}

gpb_certificate_t *
gpb_certificate_load_public (const char *path, gpb_error_t *error)
{
    gpb_certificate_t *self = s_load (path, error);
    if (self)
        sodium_memzero (self->secret_key, sizeof self->secret_key);
    return self;
}

//  ---------------------------------------------------------------------------------------------------------
//  Writing

//  A new file. O_EXCL follows no link and replaces nothing.
static gpb_status_t
s_create (const char *path, mode_t mode, int *file_p, gpb_error_t *error)
{
    *file_p = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (*file_p >= 0)
        return GPB_OK;
    if (errno == EEXIST)
        return gpb_error_set (error, GPB_ALREADY_EXISTS,
                              "%s is there already, and is not overwritten: whoever has its key "
                              "would be locked out",
                              path);
    return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s: cannot be made: %s", path,
                          strerror (errno));
}

static bool
s_write (const gpb_certificate_t *self, int file, bool is_secret)
{
    char text [1024];
    int size = snprintf (text, sizeof text,
                         "#   ZeroMQ CURVE %s\n#   %s\n\nmetadata\n    name = \"%s\"\n"
                         "curve\n    public-key = \"%s\"\n",
                         is_secret ? "key pair" : "public key",
                         is_secret ? "Whoever has this file is who it names: give it to nobody."
                                   : "May be given to anyone.",
                         self->name, self->public_key);
    if (is_secret)
        size += snprintf (text + size, sizeof text - (size_t) size, "    secret-key = \"%s\"\n",
                          self->secret_key);
    bool is_written = write (file, text, (size_t) size) == size && fsync (file) == 0;
    sodium_memzero (text, sizeof text);
    return is_written;
}

gpb_status_t
gpb_certificate_save (const gpb_certificate_t *self, const char *path, gpb_error_t *error)
{
    char secret [PATH_MAX];
    if (!self->secret_key [0])
        return gpb_error_set (error, GPB_FAILED_PRECONDITION, "%s: no key pair to write", path);
    if (snprintf (secret, sizeof secret, "%s" SECRET_SUFFIX, path) >= (int) sizeof secret)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "a path of more than %d bytes",
                              PATH_MAX - 8);
    int secret_file = -1, public_file = -1;
    gpb_status_t status = s_create (secret, 0600, &secret_file, error);
    if (status != GPB_OK)
        return status;
    status = s_create (path, 0644, &public_file, error);
    if (status == GPB_OK
        && (!s_write (self, secret_file, true) || !s_write (self, public_file, false))) {
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s: cannot be written: %s", path,
                                strerror (errno));
        unlink (path);
    }
    if (status != GPB_OK)
        unlink (secret);
    close (secret_file);
    if (public_file >= 0)
        close (public_file);
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Using

const char *
gpb_certificate_name (const gpb_certificate_t *self)
{
    return self->name;
}

const char *
gpb_certificate_public_key (const gpb_certificate_t *self)
{
    return self->public_key;
}

bool
gpb_certificate_has_secret (const gpb_certificate_t *self)
{
    return self->secret_key [0] != 0;
}

static gpb_status_t
s_check_pair (const gpb_certificate_t *self, gpb_error_t *error)
{
    return self->secret_key [0] ? GPB_OK
                                : gpb_error_set (error, GPB_FAILED_PRECONDITION,
                                                 "the certificate of %s has no secret key: one's "
                                                 "own is a key pair",
                                                 self->name);
}

static bool
s_set (void *socket, int option, const char *key)
{
    return zmq_setsockopt (socket, option, key, KEY_SIZE) == 0;
}

gpb_status_t
gpb_certificate_serve (const gpb_certificate_t *self, void *zmq_socket, gpb_error_t *error)
{
    int is_server = 1;
    if (s_check_pair (self, error) != GPB_OK)
        return GPB_FAILED_PRECONDITION;
    if (zmq_setsockopt (zmq_socket, ZMQ_CURVE_SERVER, &is_server, sizeof is_server) == 0
        && s_set (zmq_socket, ZMQ_CURVE_PUBLICKEY, self->public_key)
        && s_set (zmq_socket, ZMQ_CURVE_SECRETKEY, self->secret_key))
        return GPB_OK;
    return gpb_error_set (error, GPB_FAILED_PRECONDITION, "no CURVE: %s",
                          zmq_strerror (zmq_errno ()));
}

gpb_status_t
gpb_certificate_connect (const gpb_certificate_t *self, const gpb_certificate_t *node,
                         void *zmq_socket, gpb_error_t *error)
{
    if (s_check_pair (self, error) != GPB_OK)
        return GPB_FAILED_PRECONDITION;
    if (s_set (zmq_socket, ZMQ_CURVE_SERVERKEY, node->public_key)
        && s_set (zmq_socket, ZMQ_CURVE_PUBLICKEY, self->public_key)
        && s_set (zmq_socket, ZMQ_CURVE_SECRETKEY, self->secret_key))
        return GPB_OK;
    return gpb_error_set (error, GPB_FAILED_PRECONDITION, "no CURVE: %s",
                          zmq_strerror (zmq_errno ()));
}
