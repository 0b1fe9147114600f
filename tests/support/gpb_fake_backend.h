//  gpb_fake_backend - a backend of the tests: devices without hardware, with books
//
//  The module "fake" (gpb_fake.so, found through GPB_MODULE_DIR) has devices of its own memory,
//  which do not share the host's, and three engines each: copy in, copy out, compute. An engine
//  is a thread that takes the next command whose stream has nothing before it, so that commands of
//  different streams overlap as they do on a card. Read when the backend starts:
//
//      GPB_FAKE_DEVICES=2       how many devices there are
//      GPB_FAKE_BAD=1           the number of one that is out of order; unset: none
//      GPB_FAKE_MEMORY=67108864 bytes of each device's memory (HOST and MAPPED memory is not of it)
//      GPB_FAKE_COPY_US=0       what every copy lasts at least, in microseconds
//      GPB_FAKE_COMPUTE_US=0    what every launch and zero lasts at least
//      GPB_FAKE_BUILD_US=0      what building a module lasts at least
//      GPB_FAKE_FAIL_EVERY=0    every Nth allocation, of any kind, finds no memory; 0: none
//      GPB_FAKE_BUS=text        bus id of the devices, a # at its end stands for the number
//      GPB_FAKE_UNITS=8         compute units: lanes of one context that run at once
//      GPB_FAKE_LOADS_ALONE=0   1: code is loaded only while no lane is on the device
//      GPB_FAKE_SVM=1           0: no MAPPED memory, and so no persistent kernels
//
//  The module "twin" is the same once more, with GPB_TWIN_ in the place of GPB_FAKE_, for tests
//  that need two backends.
//
//  A device's capabilities are gpu, fp64 and fake_NUMBER, so that a request can require one; and
//  svm_atomics, unless GPB_FAKE_SVM says otherwise.
//
//  Code is a text with "fake: NAME" somewhere, which names what runs; all else in it is for people.
//  An entry exists where its name stands in the text. What there is:
//
//      add_f32 (a, b, c, i32 n)   c [i] = a [i] + b [i]
//      copy (in, out)             as many bytes as the launch has work-items
//      noop (...)                 nothing, with any arguments
//      sleep_us (i32 us)          lasts that much longer
//      fail (...)                 ends with INTERNAL
//      lose (...)                 the device is lost: this and all that follows is UNAVAILABLE
//      never_done (...)           until gpb_fake_let_go, or until the context closes: CANCELLED
//      syntax error               does not compile: INVALID_ARGUMENT with a log
//
//  A persistent package's text has "#define GPB_HANDLER gpb_handler_NAME" instead, and its entries
//  are gpb_dispatch and gpb_once. Its names are those of gpb_test_dispatch.h. A lane (a launch of
//  gpb_dispatch) is a thread of its own beside the engines. It keeps a compute unit for as long as
//  it runs, and where lanes have all of them, nothing else is computed: a lane too many starves a
//  device here as it does on a real one. A lane whose device is lost ends as it stands.
//
//  It keeps books. What a caller must not do is a fault: release or free twice, use what is
//  released, release what a command still uses, unload code that still runs, close with memory,
//  modules, events or lanes left, go beyond memory's end, have a kernel write read-only memory, run
//  a lane twice at once. Faults are refused where that is possible, never carried out, and kept as
//  sentences.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_FAKE_BACKEND_H_INCLUDED
#define GPB_FAKE_BACKEND_H_INCLUDED

#include "gpb_error.h"

#include <stddef.h>

//  How many faults there were since the last call; text holds their sentences, a line each. Faults
//  that nobody has asked for when the backend stops are written to stderr, and the process aborts.
//  Any thread. A program reaches it by dlsym, as gpb_test_device does.
GPB_EXPORT unsigned gpb_fake_faults (char *text, size_t size);

//  Ends every never_done that was launched so far, with OK, and every handler that does not return
//  of lanes and gpb_once that were launched so far, now and later.
GPB_EXPORT void gpb_fake_let_go (void);

#endif
