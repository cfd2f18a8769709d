// One description of a struct serves both directions of its JSON form:
//
//   void fields(auto& f, Of<Thing> auto& t) { f.need("name", t.name); f.maybe("tries", t.tries, Thing{}.tries); }
//
// need: always written, must be there. maybe: left out while it equals the fallback (or is empty), may be missing.
// Enums need to_text(E) and from_text(std::string_view, E&) -> bool. Everything read is type-checked; a strict reader also
// refuses members that nobody described.
#pragma once
#include <concepts>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/digest.hpp"
#include "core/base/error.hpp"
#include "core/base/json.hpp"
#include "core/base/text.hpp"

namespace ripcord {

template <class T, class U>
concept Of = std::same_as<std::remove_const_t<T>, U>;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

std::string mode_text(unsigned mode);                           // "0755", "04755"
std::optional<unsigned> parse_mode(std::string_view text);      // exactly what mode_text writes

class FieldWriter {
 public:
  json::object object;

  void need(std::string_view key, const auto& v) { object.emplace(key, write(v)); }
  void maybe(std::string_view key, const auto& v, const auto& fallback) {
    if (!(v == fallback)) need(key, v);
  }
  template <class T>
  void maybe(std::string_view key, const T& v) {
    if constexpr (is_optional<T>) {
      if (v) need(key, *v);
    } else if constexpr (requires { v.empty(); }) {
      if (!v.empty()) need(key, v);
    } else {
      json::value written = write(v);
      if (!written.get_object().empty()) object.emplace(key, std::move(written));
    }
  }
  void maybe_mode(std::string_view key, unsigned mode, unsigned fallback) {
    if (mode != fallback) object.emplace(key, mode_text(mode));
  }

 private:
  template <class T>
  static json::value write(const T& v) {
    if constexpr (std::same_as<T, std::string>) return json::value(json::string(v));
    else if constexpr (std::same_as<T, bool>) return json::value(v);
    else if constexpr (std::same_as<T, std::uint64_t>) return json::value(static_cast<std::int64_t>(v));  // kept below 2^63
    else if constexpr (std::integral<T>) return json::value(static_cast<std::int64_t>(v));
    else if constexpr (std::same_as<T, Millis>) return json::value(static_cast<std::int64_t>(v.count()));
    else if constexpr (std::same_as<T, Digest>) return json::value(json::string(v.hex()));
    else if constexpr (std::is_enum_v<T>) return json::value(json::string(to_text(v)));
    else if constexpr (requires { typename T::mapped_type; }) {
      json::object o;
      for (const auto& [key, item] : v) o.emplace(key, write(item));
      return o;
    } else if constexpr (requires { v.begin(); }) {
      json::array a;
      a.reserve(v.size());
      for (const auto& item : v) a.push_back(write(item));
      return a;
    } else {
      FieldWriter w;
      fields(w, v);
      return std::move(w.object);
    }
  }
};

class FieldReader {
 public:
  FieldReader(const json::object& o, bool strict) : object_(o), strict_(strict) {}

  void need(std::string_view key, auto& v) {
    note(key);
    read_member(member(object_, key), key, v);
  }
  void maybe(std::string_view key, auto& v, const auto&) { maybe(key, v); }
  void maybe(std::string_view key, auto& v) {
    note(key);
    if (const auto* m = object_.if_contains(key)) read_member(*m, key, v);
  }
  void maybe_mode(std::string_view key, unsigned& mode, unsigned) {
    std::string text;
    maybe(key, text);
    if (text.empty()) return;
    auto parsed = parse_mode(text);
    if (!parsed) wrong(key, "a file mode");
    mode = *parsed;
  }
  void finish() const;  // a strict reader: Error on members nobody asked for

 private:
  const json::object& object_;
  bool strict_;
  std::vector<std::string_view> known_;

  void note(std::string_view key) {
    if (strict_) known_.push_back(key);
  }
  [[noreturn]] static void wrong(std::string_view key, const char* type) {
    throw Error("member '" + std::string(key) + "' is not " + type);
  }
  static std::int64_t integer(const json::value& m, std::string_view key, std::int64_t low, std::int64_t high);

  template <class T>
  void read_member(const json::value& m, std::string_view key, T& v) {
    if constexpr (is_optional<T>) {
      read_member(m, key, v.emplace());
    } else if constexpr (std::same_as<T, std::string>) {
      if (!m.is_string()) wrong(key, "a string");
      v.assign(m.get_string().data(), m.get_string().size());
    } else if constexpr (std::same_as<T, bool>) {
      if (!m.is_bool()) wrong(key, "true or false");
      v = m.get_bool();
    } else if constexpr (std::integral<T>) {
      constexpr auto low = std::signed_integral<T> ? static_cast<std::int64_t>(std::numeric_limits<T>::min()) : 0;
      constexpr auto high = sizeof(T) < 8 ? static_cast<std::int64_t>(std::numeric_limits<T>::max())
                                          : std::numeric_limits<std::int64_t>::max();
      v = static_cast<T>(integer(m, key, low, high));
    } else if constexpr (std::same_as<T, Millis>) {
      v = Millis(integer(m, key, 0, kMaxMillis));
    } else if constexpr (std::same_as<T, Digest>) {
      if (!m.is_string()) wrong(key, "a digest");
      auto parsed = Digest::parse({m.get_string().data(), m.get_string().size()});
      if (!parsed) wrong(key, "a digest");
      v = *parsed;
    } else if constexpr (std::is_enum_v<T>) {
      if (!m.is_string() || !from_text({m.get_string().data(), m.get_string().size()}, v)) wrong(key, "one of the known words");
    } else if constexpr (requires { typename T::mapped_type; }) {
      if (!m.is_object()) wrong(key, "an object");
      for (const auto& item : m.get_object()) read_member(item.value(), key, v[std::string(item.key())]);
    } else if constexpr (requires { v.begin(); }) {
      if (!m.is_array()) wrong(key, "an array");
      for (const auto& item : m.get_array()) {
        typename T::value_type element{};
        read_member(item, key, element);
        v.insert(v.end(), std::move(element));
      }
    } else {
      if (!m.is_object()) wrong(key, "an object");
      FieldReader r(m.get_object(), strict_);
      try {
        fields(r, v);
        r.finish();
      } catch (Error& e) {
        e.during("reading '" + std::string(key) + "'");
        throw;
      }
    }
  }

  static constexpr std::int64_t kMaxMillis = 366ll * 24 * 3600 * 1000;  // no deadline is longer than a year
};

}  // namespace ripcord
