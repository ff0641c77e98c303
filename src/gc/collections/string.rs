//! [`String`].

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Add, AddAssign, Deref};
use std::str::Utf8Error;

use super::vec::Vec;

/// [`std::string::String`] with collected storage and without destructor. For text that does not change, `Gc<str>` is a word smaller and `Copy`.
///
/// # Examples
///
/// ```
/// use greenroutine::gc;
/// use std::fmt::Write;
///
/// let mut text = gc::String::from("forty-");
/// write!(text, "{}", "two").unwrap();
/// assert_eq!(text, "forty-two");
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct String {
    /// Valid UTF-8.
    bytes: Vec<u8>,
}

impl String {
    /// Empty, without storage.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Empty, with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// The text of bytes.
    ///
    /// # Errors
    ///
    /// If they are not valid UTF-8.
    pub fn from_utf8(bytes: Vec<u8>) -> Result<Self, Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self { bytes })
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        // SAFETY: the bytes are valid UTF-8.
        unsafe { std::str::from_utf8_unchecked(&self.bytes) }
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes there is room for.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for `additional` bytes more.
    pub fn reserve(&mut self, additional: usize) {
        self.bytes.reserve(additional);
    }

    /// Appends text.
    #[inline]
    pub fn push_str(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Appends a character.
    #[inline]
    pub fn push(&mut self, character: char) {
        if character.is_ascii() {
            self.bytes.push(character as u8);
        } else {
            self.push_str(character.encode_utf8(&mut [0; 4]));
        }
    }

    /// Takes the last character.
    pub fn pop(&mut self) -> Option<char> {
        let last = self.chars().next_back()?;
        self.truncate(self.len() - last.len_utf8());
        Some(last)
    }

    /// Keeps the first `len` bytes.
    ///
    /// # Panics
    ///
    /// If `len` is inside a character.
    #[track_caller]
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.check(len);
            self.bytes.truncate(len);
        }
    }

    #[track_caller]
    fn check(&self, at: usize) {
        assert!(
            self.is_char_boundary(at),
            "byte {at} is no boundary of a character in a text of {} bytes",
            self.len()
        );
    }

    /// Removes all; the storage stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Inserts text before byte `at`.
    ///
    /// # Panics
    ///
    /// If `at` is beyond the end or inside a character.
    #[track_caller]
    pub fn insert_str(&mut self, at: usize, text: &str) {
        self.check(at);
        self.push_str(text);
        self.bytes[at..].rotate_right(text.len());
    }

    /// Inserts a character before byte `at`.
    ///
    /// # Panics
    ///
    /// As [`String::insert_str`].
    #[track_caller]
    pub fn insert(&mut self, at: usize, character: char) {
        self.insert_str(at, character.encode_utf8(&mut [0; 4]));
    }

    /// Takes the character at byte `at` out.
    ///
    /// # Panics
    ///
    /// If none begins there.
    #[track_caller]
    pub fn remove(&mut self, at: usize) -> char {
        self.check(at);
        let Some(character) = self[at..].chars().next() else {
            panic!("byte {at} is the end of a text of {} bytes", self.len());
        };
        self.bytes.drain(at..at + character.len_utf8());
        character
    }

    /// Keeps the characters for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(char) -> bool) {
        *self = self.chars().filter(|character| keep(*character)).collect();
    }
}

impl Deref for String {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for String {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for String {
    fn borrow(&self) -> &str {
        self
    }
}

impl Hash for String {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for String {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for String {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Write for String {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

impl PartialEq<str> for String {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for String {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<std::string::String> for String {
    fn eq(&self, other: &std::string::String) -> bool {
        self.as_str() == other
    }
}

impl Add<&str> for String {
    type Output = Self;

    fn add(mut self, text: &str) -> Self {
        self.push_str(text);
        self
    }
}

impl AddAssign<&str> for String {
    fn add_assign(&mut self, text: &str) {
        self.push_str(text);
    }
}

impl From<&str> for String {
    fn from(text: &str) -> Self {
        Self { bytes: Vec::from(text.as_bytes()) }
    }
}

impl From<std::string::String> for String {
    fn from(text: std::string::String) -> Self {
        Self::from(text.as_str())
    }
}

impl Extend<char> for String {
    fn extend<I: IntoIterator<Item = char>>(&mut self, characters: I) {
        characters.into_iter().for_each(|character| self.push(character));
    }
}

impl<'a> Extend<&'a str> for String {
    fn extend<I: IntoIterator<Item = &'a str>>(&mut self, texts: I) {
        texts.into_iter().for_each(|text| self.push_str(text));
    }
}

impl FromIterator<char> for String {
    fn from_iter<I: IntoIterator<Item = char>>(characters: I) -> Self {
        let mut text = Self::new();
        text.extend(characters);
        text
    }
}

impl<'a> FromIterator<&'a str> for String {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut text = Self::new();
        text.extend(texts);
        text
    }
}
