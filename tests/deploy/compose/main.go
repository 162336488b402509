// Reads a Compose file as `docker compose config` does, with every profile, and says what is wrong with it.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithProfiles([]string{"*"}))
	if err == nil {
		project, failed := options.LoadProject(context.Background())
		if err = failed; err == nil {
			fmt.Println(len(project.Services), "services,", len(project.Volumes), "volumes: fine")
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
