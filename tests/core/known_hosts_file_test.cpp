#include "core/net/known_hosts_file.hpp"

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

TEST_CASE("a key is added behind the last line, whether that ends or not") {
  CHECK(with_host_key("", "h ssh-ed25519 AAAA") == "h ssh-ed25519 AAAA\n");
  CHECK(with_host_key("a k B\n", "h k A") == "a k B\nh k A\n");
  CHECK(with_host_key("a k B", "h k A") == "a k B\nh k A\n");
}

TEST_CASE("another key replaces its line, and nothing else; other hosts of the line keep theirs") {
  CHECK(with_other_host_key("# mine\nh k OLD\nz k Z\n", 2, "h", "h k NEW") == "# mine\nh k NEW\nz k Z\n");
  CHECK(with_other_host_key("  h  k OLD comment\n", 1, "h", "h k NEW") == "h k NEW\n");
  CHECK(with_other_host_key("a,H,b k OLD c\nz k Z\n", 1, "h", "h k NEW") == "a,b k OLD c\nz k Z\nh k NEW\n");
  CHECK(with_other_host_key("|1|c2FsdA==|aGFzaA== k OLD\n", 1, "h", "h k NEW") == "h k NEW\n");
  CHECK(with_other_host_key("[h]:2222 k OLD", 1, "[h]:2222", "[h]:2222 k NEW") == "[h]:2222 k NEW");
  for (const char* pattern : {"*.example.com k OLD\n", "h?,x k OLD\n", "!h,* k OLD\n", "@revoked h k OLD\n"}) {
    INFO(pattern);
    CHECK_THROWS_AS(with_other_host_key(pattern, 1, "h", "h k NEW"), Error);
  }
  CHECK_THROWS_AS(with_other_host_key("h k OLD\n", 9, "h", "h k NEW"), Error);
}
