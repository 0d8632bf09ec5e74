// See test_support.h.
#include "test_support.h"

#include <map>
#include <sstream>

namespace tileconv::test {

ConvArguments parse(const std::string& line) {
  ConvArguments a;
  a.input_dtype = a.weight_dtype = "float32";
  std::map<std::string, std::int64_t> number = {{"b", 1}, {"g", 1}};
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const std::size_t digits = word.find_first_of("0123456789");
    if (digits != std::string::npos)
      number[word.substr(0, digits)] = std::stoll(word.substr(digits));
    else if (word == "bias")
      a.has_bias = true;
    else if (word == "valid" || word.rfind("same", 0) == 0)
      a.padding_name = word;
    else
      a.padding_mode = word;
  }
  // The value of the first name that was given.
  const auto get = [&](std::initializer_list<const char*> names, std::int64_t otherwise) {
    for (const char* name : names)
      if (const auto found = number.find(name); found != number.end()) return found->second;
    return otherwise;
  };
  if (number.count("f")) a.input_dtype = a.weight_dtype = "float" + std::to_string(number["f"]);
  a.bias_dtype = a.input_dtype;
  a.groups = number["g"];
  a.input_shape = {number["b"], number["ic"], number["ih"], get({"iw", "ih"}, 0)};
  a.weight_shape = {number["oc"], a.groups > 0 ? number["ic"] / a.groups : 0, number["kh"], get({"kw", "kh"}, 0)};
  a.bias_shape = {number["oc"]};
  a.stride = {get({"sh", "s"}, 1), get({"sw", "s"}, 1)};
  a.dilation = {get({"dh", "d"}, 1), get({"dw", "d"}, 1)};
  a.padding = {get({"pt", "ph", "p"}, 0), get({"pb", "ph", "p"}, 0), get({"pl", "pw", "p"}, 0), get({"pr", "pw", "p"}, 0)};
  return a;
}

}  // namespace tileconv::test
