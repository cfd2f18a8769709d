#include "core/base/json.hpp"

#include <fmt/format.h>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

[[noreturn]] void wrong(std::string_view key, std::string_view type) {
  throw Error(fmt::format("member '{}' is not {}", key, type));
}

const json::value* find(const json::object& o, std::string_view key) {
  const json::value* v = o.if_contains(key);
  return v && !v->is_null() ? v : nullptr;
}

std::string as_string(const json::value& v, std::string_view key) {
  if (!v.is_string()) wrong(key, "a string");
  return std::string(v.get_string());
}

std::int64_t as_int(const json::value& v, std::string_view key) {
  boost::json::error_code ec;
  auto n = v.to_number<std::int64_t>(ec);
  if (ec || v.is_double()) wrong(key, "a whole number");
  return n;
}

}  // namespace

json::value parse_json(std::string_view text, std::string_view what) {
  boost::json::error_code ec;
  json::parse_options options;
  options.max_depth = 32;
  auto value = json::parse(text, ec, {}, options);
  if (ec) throw Error(fmt::format("{} is not valid JSON: {}", what, ec.message()));
  return value;
}

json::object parse_json_object(std::string_view text, std::string_view what) {
  auto value = parse_json(text, what);
  if (!value.is_object()) throw Error(fmt::format("{} is not a JSON object", what));
  return std::move(value.get_object());
}

const json::value& member(const json::object& o, std::string_view key) {
  const json::value* v = o.if_contains(key);
  if (!v) throw Error(fmt::format("member '{}' is missing", key));
  return *v;
}

std::string get_string(const json::object& o, std::string_view key) { return as_string(member(o, key), key); }
std::int64_t get_int(const json::object& o, std::string_view key) { return as_int(member(o, key), key); }

bool get_bool(const json::object& o, std::string_view key) {
  const auto& v = member(o, key);
  if (!v.is_bool()) wrong(key, "true or false");
  return v.get_bool();
}

const json::object& get_object(const json::object& o, std::string_view key) {
  const auto& v = member(o, key);
  if (!v.is_object()) wrong(key, "an object");
  return v.get_object();
}

const json::array& get_array(const json::object& o, std::string_view key) {
  const auto& v = member(o, key);
  if (!v.is_array()) wrong(key, "an array");
  return v.get_array();
}

std::vector<std::string> get_strings(const json::object& o, std::string_view key) {
  std::vector<std::string> out;
  for (const auto& v : get_array(o, key)) out.push_back(as_string(v, key));
  return out;
}

std::string get_string_or(const json::object& o, std::string_view key, std::string_view fallback) {
  const auto* v = find(o, key);
  return v ? as_string(*v, key) : std::string(fallback);
}

std::int64_t get_int_or(const json::object& o, std::string_view key, std::int64_t fallback) {
  const auto* v = find(o, key);
  return v ? as_int(*v, key) : fallback;
}

bool get_bool_or(const json::object& o, std::string_view key, bool fallback) {
  const auto* v = find(o, key);
  if (!v) return fallback;
  if (!v->is_bool()) wrong(key, "true or false");
  return v->get_bool();
}

const json::object* find_object(const json::object& o, std::string_view key) {
  const auto* v = find(o, key);
  if (v && !v->is_object()) wrong(key, "an object");
  return v ? &v->get_object() : nullptr;
}

const json::array* find_array(const json::object& o, std::string_view key) {
  const auto* v = find(o, key);
  if (v && !v->is_array()) wrong(key, "an array");
  return v ? &v->get_array() : nullptr;
}

std::vector<std::string> get_strings_or_empty(const json::object& o, std::string_view key) {
  return find(o, key) ? get_strings(o, key) : std::vector<std::string>{};
}

json::array to_json_array(const std::vector<std::string>& items) {
  json::array a;
  a.reserve(items.size());
  for (const auto& s : items) a.emplace_back(s);
  return a;
}

}  // namespace ripcord
