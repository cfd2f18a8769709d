// One header for Catch2 2 (Debian 12) and 3 (elsewhere).
#pragma once
#if __has_include(<catch2/catch.hpp>)
#include <catch2/catch.hpp>
#else
#include <catch2/catch_all.hpp>
#endif
