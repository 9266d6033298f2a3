#pragma once
// Lines of a password file, and what those who are in it send.
#include <string>

namespace fiberd::test {

inline const std::string kUser = "user:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";  ///< U*U
/// "secret", of cost 4.
inline const std::string kOther = "other:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";
/// Of cost 12, which takes a while.
inline const std::string kSlow = "slow:$2y$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";

inline const std::string kAsUser = "Authorization: Basic dXNlcjpVKlU=\r\n";
inline const std::string kAsOther = "Authorization: Basic b3RoZXI6c2VjcmV0\r\n";
inline const std::string kAsSlow = "Authorization: Basic c2xvdzp3cm9uZw==\r\n";  ///< with a wrong password

}  // namespace fiberd::test
