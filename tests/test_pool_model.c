#include "gpb_test.h"
START_TEST (test_nothing)
{
}
END_TEST
GPB_TEST_MAIN ("x", 1, test_nothing)
