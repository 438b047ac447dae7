// Hello is the program that the demo's image runs.
package main

import "fmt"

func main() { fmt.Println("Hello from an image that lives on IPFS.") }
