//  gpb_test_program - a script in the place of gpb_device_host, for a test
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_PROGRAM_H_INCLUDED
#define GPB_TEST_PROGRAM_H_INCLUDED

//  From now on this process starts a shell with these lines where it would start gpb_device_host.
//  $folder is a folder of the script's own; descriptor 3 is the control socket, one write a packet.
void gpb_test_program_set (const char *lines);

//  Removes the script, and what it has made. The real program is started again.
void gpb_test_program_clear (void);

#endif
